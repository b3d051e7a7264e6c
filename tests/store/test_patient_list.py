"""Patients are listed and found: by hospital, by split, and by whether they were scored."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from bcd.cli.main import app
from bcd.errors import NotFoundError
from bcd.patches import Hospital, PatientId
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store import tables
from bcd.store.ledger import LedgerEntry, record_in_ledger
from bcd.store.patient_list import find_patients
from bcd.store.sign_off import SignOff

NOW = datetime(2026, 11, 29, 20, 15, tzinfo=UTC)


@pytest.fixture
def known(store, store_batch):
    """Thirty patients of east, dealt; one of west, who came later; 3 was scored twice, and 4 was tried in vain."""
    store_batch([str(number) for number in range(30)], labels=(0, 1, None), hospital="east")
    freeze_snapshot(store, SplitOptions())
    store_batch(["3"], labels=(1,), hospital="west")
    for patient, bundle, status in (("3", "bcd-idc/1", "scored"), ("3", "bcd-idc/2", "scored"), ("4", "x", "failed")):
        entry = LedgerEntry(Hospital("east"), PatientId(patient), bundle, "c" * 64, status, NOW, "scores/x")
        record_in_ledger(store, entry)
    return store


def names(found) -> list[str]:
    return [f"{each.hospital}/{each.patient}" for each in found]


def test_every_patient_has_a_split_counts_and_the_last_score(known) -> None:
    found = {f"{each.hospital}/{each.patient}": each for each in find_patients(known, "dealt")}
    assert len(found) == 31
    three = found["east/3"]
    assert (three.patches, three.labelled, three.positive, three.bundle, three.scored_at) == (
        3,
        2,
        1,
        "bcd-idc/2",
        NOW,
    )
    assert three.split in {"train", "val", "gate", "test"}
    assert (found["west/3"].split, found["west/3"].bundle, found["west/3"].positive) == ("", "", 1)
    assert list(found) == sorted(found)


def test_patients_are_found_by_hospital_split_and_score(known) -> None:
    assert names(find_patients(known, "dealt", hospital="west")) == ["west/3"]
    assert names(find_patients(known, "dealt", scored=True)) == ["east/3"]
    assert len(find_patients(known, "dealt", scored=False)) == 30
    splits = {split: find_patients(known, "dealt", split=split) for split in ("train", "val", "gate", "test")}
    assert sum(map(len, splits.values())) == 30
    assert all(each.split == split for split, found in splits.items() for each in found)


def test_the_command_lists_them_and_writes_json(known, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCD_HOME", str(settings.home))
    monkeypatch.setenv("BCD_CATALOG_URL", settings.catalog_url)
    listed = json.loads(CliRunner().invoke(app, ["patient", "list", "--scored", "--json"]).output)
    assert [(one["hospital"], one["patient"], one["bundle"]) for one in listed] == [("east", "3", "bcd-idc/2")]
    told = CliRunner().invoke(app, ["patient", "list", "--hospital", "east", "--limit", "5"]).output
    assert re.search(r"\b30 patients, 5\b", told)
    with pytest.raises(NotFoundError, match=r"\bdev\b"):
        app(["patient", "list", "--split", "dev"], standalone_mode=False)


def test_withdrawn_patients_are_marked(known) -> None:
    gone = {"hospital": "east", "patient": "5", **vars(SignOff("Mary", "a letter"))}
    with known.write() as connection:
        connection.execute(sa.insert(tables.withdrawn).values(gone))
    assert [each.patient for each in find_patients(known, "dealt") if each.withdrawn] == ["5"]
