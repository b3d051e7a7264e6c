"""A small, one-class or unlabelled delivery is admitted and can be scored; training and the gate refuse, by name."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from delivering import picture, write_zip

from bcd.admission.admit import admit
from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.patches import Hospital, PatchName, PatientId, SlideId
from bcd.retraining.plan import write_plan
from bcd.retraining.stages import search_stage
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store


def _deliver(folder: Path, names: list[str]) -> Path:
    """Writes a zip of distinct patches of those names."""
    return write_zip(folder / "delivery.zip", {name: picture(number) for number, name in enumerate(names)})


def _names(patients: int, labels: list[int | None]) -> list[str]:
    return [
        PatchName(PatientId(str(10000 + patient)), SlideId("5"), 1 + 50 * column, 1, label).format()
        for patient in range(patients)
        for column, label in enumerate(labels)
    ]


def _admit(settings: Settings, tmp_path: Path, names: list[str]) -> None:
    store = open_store(settings)
    declare_hospital(store, "small", "pseudonyms", SignOff("test", "test"))
    admission = admit(store, _deliver(tmp_path, names), Hospital("small"))
    assert admission.admitted == len(names)


def test_an_unlabelled_delivery_is_admitted_but_nothing_can_be_learned_from_it(
    settings: Settings, tmp_path: Path
) -> None:
    _admit(settings, tmp_path, _names(3, [None, None]))
    with pytest.raises(InsufficientEvidenceError):
        freeze_snapshot(open_store(settings), SplitOptions())


@pytest.mark.parametrize(
    ("patients", "labels", "named"),
    [(4, [0, 1], "train.*patients"), (60, [0, 0], "train.*label 0 only")],
    ids=["few patients", "one class"],
)
def test_training_refuses_and_names_the_split(
    settings: Settings, tmp_path: Path, patients: int, labels: list[int | None], named: str
) -> None:
    _admit(settings, tmp_path, _names(patients, labels))
    snapshot = freeze_snapshot(open_store(settings), SplitOptions())
    with pytest.raises(InsufficientEvidenceError, match=named):
        search_stage(settings, write_plan(settings, snapshot))
    assert not settings.work.exists() or not list(settings.work.rglob("*.keras"))


def test_the_whole_inbox_is_worked_through_although_one_delivery_is_bad(
    settings: Settings, tmp_path: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.ingest import ingest

    monkeypatch.setenv("BCD_INBOX_QUIET_SECONDS", "0")
    for hospital in ("east", "west"):
        declare_hospital(open_store(settings), hospital, "pseudonyms", SignOff("test", "test"))
        (settings.inbox / hospital).mkdir(parents=True)
    shutil.copy(_deliver(tmp_path, _names(2, [0, 1])), settings.inbox / "west/good.zip")
    with zipfile.ZipFile(settings.inbox / "east/holiday.zip", "w") as archive:
        archive.writestr("beach.jpg", b"\xff\xd8 sand")
    with pytest.raises(BcdError, match=r"holiday\.zip"):
        ingest()
    assert (settings.received / "west/good.zip").exists()
    assert (settings.set_aside / "east/holiday.zip").exists()
    assert "holiday.zip" in (settings.set_aside / "east/holiday.zip.txt").read_text()
    assert ingest() == []
