"""The corpus of malformed files and archives: none crashes or hangs, and each ends as its case says.

`python tests/admission/malformed/make_corpus.py FOLDER` writes it out.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from delivering import write_folder, write_tar_gz, write_zip

from bcd.admission.admit import Admission, admit
from bcd.admission.rules import RULES
from bcd.admission.sources import folders, tars
from bcd.errors import BcdError
from bcd.patches import Hospital
from bcd.settings import load_settings
from bcd.store.deliveries import RefusedFile
from bcd.store.delivery_queries import list_stored_refusals
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

sys.path.insert(0, str(Path(__file__).parent / "malformed"))

from cases import ADMITTED, IGNORED, BadDelivery, BadFile, name_of, patch
from make_corpus import bad_archives, bad_files, good_files, odd_names

EAST = Hospital("east")
WHOLE = {"container", "no-delivery", "labels-alone", "too-many", "failed", "suspected"}
"""Rules that a delivery breaks and no file of it."""

SECONDS = 60
"""No case takes one; what takes so many hangs."""

FILES = bad_files()
ODD = odd_names()
ARCHIVES = bad_archives()


class HangError(BaseException):
    """Is no Exception, so that nothing takes it for damage of a file."""


@dataclass(frozen=True)
class Outcome:
    """What became of the files of the corpus, delivered at once."""

    admission: Admission
    refused: dict[str, RefusedFile]
    index: pd.DataFrame
    quarantine: Path


@pytest.fixture(autouse=True)
def guard() -> Iterator[None]:
    """Ends what hangs."""

    def stop(*_: object) -> None:
        raise HangError(f"It took {SECONDS} s.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One home for all archives; each holds patients of its own."""
    return _open_home(tmp_path_factory.mktemp("malformed") / "home")


def _open_home(path: Path) -> Store:
    store = open_store(load_settings(path))
    declare_hospital(store, EAST, "pseudonyms", SignOff("test", "test"))
    return store


WRITERS = {"folder": write_folder, "zip": write_zip, "tar.gz": write_tar_gz}


@pytest.fixture(scope="module", params=WRITERS)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Delivers all malformed files with whole patches beside them, and once more."""
    path = tmp_path_factory.mktemp("files")
    files = good_files() | {case.path: case.data for case in [*FILES, *(case for case, _ in ODD)]}
    delivery = WRITERS[request.param](path / f"delivery.{request.param}", files)
    store = _open_home(path / "home")
    admission = admit(store, delivery, EAST)
    again = admit(store, delivery, EAST)
    assert again.already
    assert vars(again) == vars(admission) | {"already": True}
    return Outcome(
        admission,
        {one.name: one for one in list_stored_refusals(store, admission.id)},
        pd.read_parquet(store.settings.batches / str(admission.batch) / "index.parquet"),
        store.settings.quarantine / admission.id,
    )


def test_the_corpus_holds_what_it_should() -> None:
    assert len(FILES) + len(ODD) > 300
    assert len(ARCHIVES) > 200
    paths = [case.path for case in FILES]
    assert len(set(paths)) == len(paths)
    fates = {case.fate for case in FILES} | {fate for case in ARCHIVES for _, fate in case.fates}
    assert fates <= {*RULES, ADMITTED, IGNORED}
    # `withdrawn` and `already-admitted` need an earlier delivery.
    assert set(RULES) - fates == {"withdrawn", "already-admitted", *WHOLE}


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.what)
def test_a_malformed_file_breaks_its_rule_alone(case: BadFile, outcome: Outcome) -> None:
    refusal = outcome.refused.get(case.path)
    assert (refusal and refusal.rule) == (None if case.fate in {ADMITTED, IGNORED} else case.fate), refusal
    if refusal is not None:
        assert refusal.message.endswith(".")
    if refusal is not None and refusal.kept is not None:
        assert (outcome.quarantine / refusal.kept).read_bytes() == case.data
    if case.pixels is not None:
        patient = case.path.partition("/")[0]
        stored = outcome.index.loc[outcome.index["patient"] == patient, "pixel_sha256"]
        assert stored.tolist() == [sha256(case.pixels.tobytes()).hexdigest()]


@pytest.mark.parametrize(("case", "shown"), ODD, ids=lambda value: getattr(value, "what", ""))
def test_a_name_that_cannot_be_printed_is_listed_as_one_that_can(case: BadFile, shown: str, outcome: Outcome) -> None:
    assert outcome.refused[shown].rule == case.fate


def test_good_patches_are_admitted_whatever_lies_beside_them(outcome: Outcome) -> None:
    good = [case.path for case in FILES if case.fate == ADMITTED]
    ignored = [case.path for case in FILES if case.fate == IGNORED]
    admission = outcome.admission
    whole = good_files()
    assert not outcome.refused.keys() & whole.keys()
    assert outcome.index["patient"].str.startswith("G").sum() == len(whole)
    assert admission.admitted_files == len(whole) + len(good)
    assert admission.ignored == len(ignored)
    assert sum(admission.refused.values()) == len(outcome.refused)
    assert admission.files == admission.admitted_files + len(outcome.refused) + admission.ignored
    assert admission.files == len(FILES) + len(ODD) + len(whole)


@pytest.mark.parametrize("case", ARCHIVES, ids=lambda case: case.what)
def test_a_malformed_archive_is_refused_or_its_bad_members_are(
    case: BadDelivery, home: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "HARMLESS_TAR", 1 << 20)
    path = tmp_path / case.name
    path.write_bytes(case.data)
    if case.error:
        with pytest.raises(BcdError) as caught:
            admit(home, path, EAST)
        assert case.error in str(caught.value)
        assert caught.value.fix
    else:
        admission = admit(home, path, EAST)
        refused = sorted((one.name, one.rule) for one in list_stored_refusals(home, admission.id))
        assert refused == sorted(one for one in case.fates if one[1] != ADMITTED)
        assert (admission.files, admission.admitted) == (len(case.fates), len(case.fates) - len(refused))
    assert sorted(path.name for path in tmp_path.iterdir()) == [case.name]
    assert not home.settings.scratch.exists() or not any(home.settings.scratch.iterdir())


def test_what_is_no_file_in_a_folder_is_refused_and_not_opened(
    home: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a pipe waits for ever."""
    whole = patch()
    folder = write_folder(tmp_path / "d", {name_of("H0"): whole, "elsewhere/H0_idx1_x101_y51_class0.png": patch()})
    place = folder / "H0/0"
    (place / "H0_idx1_x151_y51_class0.png").symlink_to("H0_idx1_x1_y51_class0.png")
    (place / "H0_idx1_x201_y51_class0.png").symlink_to("/etc/passwd")
    (place / "H0_idx1_x251_y51_class0.png").symlink_to("nowhere")
    (folder / "link").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(place / "H0_idx1_x301_y51_class0.png")
    os.mkfifo(place / "H0_idx1.svs")
    os.mkfifo(folder / "labels.csv")
    monkeypatch.chdir(place)  # a full path may be too long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("H0_idx1_x351_y51_class0.png")
        admission = admit(home, folder, EAST)
    refused = {one.name: one.rule for one in list_stored_refusals(home, admission.id)}
    assert refused.pop("elsewhere/H0_idx1_x101_y51_class0.png") == "folder"
    assert set(refused.values()) == {"not-a-file"}
    assert (len(refused), admission.admitted) == (8, 1)


@pytest.mark.parametrize("become", ["nothing", "longer", "shorter", "a pipe", "a link", "a folder"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    become: str, home: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = f"C-{become.replace(' ', '-')}"
    folder = write_folder(tmp_path / "d", {name_of(patient, n): patch() for n in (0, 1)})
    changed = folder / name_of(patient, 1)
    read = folders.FolderSource.read

    def change_and_read(self: folders.FolderSource, member: int, limit: int) -> bytes:
        if changed.is_file() and not changed.is_symlink() and self.names[member] == name_of(patient, 1):
            data = changed.read_bytes()
            changed.unlink()
            _ = {
                "nothing": lambda: None,
                "longer": lambda: changed.write_bytes(data + b"more"),
                "shorter": lambda: changed.write_bytes(data[:-1]),
                "a pipe": lambda: os.mkfifo(changed),
                "a link": lambda: changed.symlink_to("/etc/passwd"),
                "a folder": changed.mkdir,
            }[become]()
        return read(self, member, limit)

    monkeypatch.setattr(folders.FolderSource, "read", change_and_read)
    admission = admit(home, folder, EAST)
    assert (admission.admitted, admission.refused) == (1, {"unreadable": 1})
