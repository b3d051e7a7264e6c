"""What was found in a delivery, before it is compared with others: the lines that its identity is a hash of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bcd.admission.findings import Findings, as_hex
from bcd.admission.sources.member_names import MemberNames, ShownNames
from bcd.store.spool import Digests, make_scratch_digests

FILES = st.lists(st.tuples(st.text("ab/é日-", max_size=3), st.integers(0, 3), st.booleans()), max_size=12)


def _find(files: list[tuple[str, int, bool]], folder: Path, *, shown: bool) -> Findings:
    names = MemberNames(name for name, _, _ in files)
    digests = make_scratch_digests(folder, len(files))
    for member, (_, data, _) in enumerate(files):
        digests[member] = np.frombuffer(hashlib.sha256(bytes([data])).digest(), np.uint8)
    return Findings(
        names=ShownNames(names, str) if shown else names,
        ignored={member for member, (_, _, is_litter) in enumerate(files) if is_litter},
        digests=digests,
        refused={},
        private=set(),
        patches=pd.DataFrame(),
        pixel_digests=Digests(folder),
    )


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 100])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(files=FILES)
def test_files_are_listed_by_name_and_namesakes_by_hash(
    *, files: list[tuple[str, int, bool]], chunk: int, shown: bool, tmp_path: Path
) -> None:
    listed = b"".join(_find(files, tmp_path, shown=shown).list_files(chunk))
    counted = [(name, hashlib.sha256(bytes([data])).hexdigest()) for name, data, is_litter in files if not is_litter]
    assert listed.decode() == "".join(f"\n{name}\t{digest}" for name, digest in sorted(counted))


def test_digests_are_written_as_text() -> None:
    digests = [hashlib.sha256(bytes([number])) for number in range(3)]
    raw = np.frombuffer(b"".join(one.digest() for one in digests), np.uint8).reshape(3, 32)
    assert as_hex(raw).tolist() == [one.hexdigest() for one in digests]


def test_digests_in_a_file_are_given_back_as_more_are_appended_and_leave_nothing(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (5, 32), np.uint8)
    digests = Digests(tmp_path)
    assert digests[np.empty(0, np.int32)].shape == (0, 32)
    digests.append(rows[:2])
    assert np.array_equal(digests[np.array([1, 0])], rows[[1, 0]])
    digests.append(rows[2:])
    assert np.array_equal(digests[np.arange(5)], rows)
    digests.close()
    assert not list(tmp_path.iterdir())
