"""The same delivery twice, one that overlaps another, and doubts that arise later: batches are never edited."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from delivering import patch_files, picture, write_folder, write_zip
from leftovers import differences, opened, read_state

from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.conflicts import list_conflicts
from bcd.store.delivery_queries import list_batches
from bcd.store.revisions import import_labels
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EAST = Hospital("east")


@pytest.fixture
def home(copy_home: Callable[[str], Settings]) -> Settings:
    return copy_home("home")


def _bytes_of_batches(settings: Settings) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in settings.batches.rglob("*") if path.is_file()}


def _places(store: Store) -> set[tuple[str, int]]:
    patches = freeze_snapshot(store, SplitOptions()).patches
    return set(zip(patches["patient"], patches["x"], strict=True))


def test_the_same_delivery_twice_changes_nothing(home: Settings, store: Store, tmp_path: Path) -> None:
    files = {**patch_files("new", range(100, 110)), "notes.txt": b"dear colleague"}
    first = admit(store, write_zip(tmp_path / "first.zip", files), EAST)
    before = read_state(home)
    again = admit(store, write_folder(tmp_path / "again", dict(reversed(files.items()))), EAST)
    assert (first.already, again.already, again.id) == (False, True, first.id)
    assert differences(read_state(home), before) == []


def test_of_two_deliveries_that_overlap_each_patch_is_admitted_once(
    copy_home: Callable[[str], Settings], tmp_path: Path
) -> None:
    early = write_zip(tmp_path / "early.zip", patch_files("new", range(100, 110)))
    both = write_zip(tmp_path / "both.zip", patch_files("new", range(100, 120)))
    admitted = []
    for number, order in enumerate([(early, both), (both, early)]):
        settings = copy_home(f"home-{number}")
        with opened(settings) as store:
            counts = [admit(store, path, EAST) for path in order]
            admitted.append([(one.admitted, one.refused) for one in counts])
            assert sum(batch.admitted for batch in list_batches(store)) == 8 + 20
    assert admitted == [
        [(10, {}), (10, {"already-admitted": 10})],
        [(20, {}), (0, {"already-admitted": 10})],
    ]


def test_a_doubt_that_arises_later_marks_the_patch_until_a_label_revision_settles_it(
    home: Settings, store: Store, tmp_path: Path
) -> None:
    first = patch_files("new", range(100, 104))
    admit(store, write_zip(tmp_path / "first.zip", first), EAST)
    before, known = _bytes_of_batches(home), _places(store)
    contradicting = {
        "new_idx5_x1_y1_class1.png": picture(100),  # the same place with another label
        "new_idx5_x951_y1_class0.png": picture(101),  # elsewhere with another label
        "other_idx5_x1_y1_class0.png": picture(102),  # another patient
        "other_idx5_x51_y1_class0.png": picture(999),
    }
    admission = admit(store, write_zip(tmp_path / "later.zip", contradicting), EAST)
    assert (admission.admitted, admission.refused) == (1, {"two-labels": 2, "two-patients": 1})
    assert _bytes_of_batches(home).items() >= before.items()
    assert [(one.x, one.rule, one.is_open) for one in list_conflicts(store)] == [
        (1, "two-labels", True),
        (51, "two-labels", True),
        (101, "two-patients", True),
    ]
    doubted = {("new", 1), ("new", 51), ("new", 101)}
    assert _places(store) == known - doubted | {("other", 51)}

    labels = tmp_path / "labels.csv"
    labels.write_text("patient,slide,x,y,label\nnew,5,1,1,1\nnew,5,51,1,1\n")
    revised = import_labels(store, labels, hospital=EAST, sign_off=SignOff("Ada", "looked again"))
    assert (revised.changed, revised.settled) == (1, 2)
    assert _places(store) == known - {("new", 101)} | {("other", 51)}
    assert _bytes_of_batches(home).items() >= before.items()
