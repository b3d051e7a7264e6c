"""`bcd patient export`, as a person types it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from patients import list_patches, store_patches

from bcd.drift.patient import PatientDrift
from bcd.drift.state import Drift
from bcd.patches import Hospital, PatientId
from bcd.scoring.job import hash_scoring_content
from bcd.scoring.options import ScoreOptions
from bcd.settings import Settings
from bcd.store.ledger import LedgerEntry, record_in_ledger
from bcd.store.patients import list_stored_patches
from bcd.store.store import Store, open_store

EAST, PATIENT = Hospital("east"), PatientId("1001")


@pytest.fixture
def store(settings: Settings) -> Store:
    """A store with a patient of two slides, scored."""
    settings.inbox.mkdir(parents=True)
    store = open_store(settings)
    for number, slide in enumerate(("5", "6")):
        patches = list_patches([PATIENT], [None] * 3, slide=slide)
        store_patches(store, patches, np.full((3, 50, 50, 3), number, np.uint8))
    stored = list_stored_patches(store, EAST, PATIENT)
    folder = settings.scores / "east/1001/bcd-idc-7"
    folder.mkdir(parents=True)
    stored.assign(logit=0.0, probability=0.5).to_parquet(folder / "scores.parquet")
    drift = PatientDrift(state=Drift(level="fine", foreign=False), slides={}, delivery=None, scores=None)
    (folder / "drift.json").write_text(drift.model_dump_json())
    entry = LedgerEntry(
        hospital=EAST,
        patient=PATIENT,
        bundle="bcd-idc/7",
        content=hash_scoring_content(ScoreOptions(), stored, ()),
        status="scored",
        at=datetime(2026, 11, 23, tzinfo=UTC),
        folder=folder.relative_to(settings.home).as_posix(),
    )
    record_in_ledger(store, entry)
    return store


def test_a_scored_patient_is_written_as_ome_tiff(store: Store, bcd, tmp_path: Path) -> None:
    to = tmp_path / "exports"
    code, said, _ = bcd("patient", "export", "1001", "--format", "ome-tiff", "--to", to)
    names = {f"{kind}-{slide}.ome.tiff" for kind in ("slide", "heatmap") for slide in "56"}
    assert code == 0
    assert {path.name for path in to.iterdir()} == names
    assert all(str(to / name) in said for name in names)
    assert "Scored by bcd-idc/7, 2026-11-23" in said


def test_a_scored_patient_is_written_as_dicom(store: Store, bcd, tmp_path: Path) -> None:
    words = ("patient", "export", "1001", "--to", tmp_path / "exports", "--format")
    code, said, complained = bcd(*words, "dicom", "--slide", "5")
    assert (code, complained) == (0, "")
    names = {"slide-5.dcm", "segmentation-5.dcm", "probability-5.dcm", "report.dcm"}
    assert {path.name for path in (tmp_path / "exports").iterdir()} == names
    assert all(name in said for name in names)
    assert bcd(*words, "dicom", "--slide", "5", "--source", tmp_path / "nowhere")[0] == 2
    assert "--source" in bcd(*words, "ome-tiff", "--source", tmp_path)[2]


def test_one_slide_is_chosen_and_an_unknown_one_refused(store: Store, bcd, tmp_path: Path) -> None:
    words = ("patient", "export", "1001", "--format", "ome-tiff", "--to", tmp_path / "one")
    assert bcd(*words, "--slide", "7")[0] == 2
    assert not (tmp_path / "one").exists()
    assert bcd(*words, "--slide", "6")[0] == 0
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["heatmap-6.ome.tiff", "slide-6.ome.tiff"]
