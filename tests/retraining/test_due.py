"""When the scheduled retraining begins: the catalog decides, not the event."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bcd.retraining.due import find_due
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.decisions import Decision, store_decision

NOW = datetime(2026, 11, 2, 8, tzinfo=UTC)
OPTIONS = {"min_new_patients": 3, "max_days": 7}


@pytest.fixture
def retrained(store, store_batch):
    """The gate has decided on a model of two patients."""
    store_batch(["a", "b"])
    decide(store, "first")


def decide(store, key, kind="gate"):
    snapshot = freeze_snapshot(store, SplitOptions())
    given = {"verdict": "HOLD", "challenger": "1", "champion": None, "reasons": [], "evidence": {}}
    store_decision(store, Decision(key=key, decided_at=NOW, snapshot=snapshot.id, kind=kind, **given))


def ask(store, days=0, protocol="dealt"):
    configured = replace(store, settings=store.settings.model_copy(update={"retrain": OPTIONS}))
    due = find_due(configured, SplitOptions(protocol=protocol), now=NOW + timedelta(days=days))
    return due.is_due, due.new_patients


@pytest.mark.parametrize(("patients", "due"), [("", False), ("ab", False), ("abc", True)])
def test_the_first_retraining_waits_for_enough_labelled_patients(store, store_batch, patients, due):
    if patients:
        store_batch(list(patients))
    store_batch(["unlabelled"], labels=[None])
    assert ask(store, days=100) == (due, len(patients))


@pytest.mark.usefixtures("retrained")
@pytest.mark.parametrize(
    ("patients", "days", "due"),
    [("", 100, False), ("c", 6, False), ("c", 7, True), ("cd", 0, False), ("cde", 0, True)],
)
def test_the_next_one_begins_with_enough_new_patients_or_after_so_many_days(store, store_batch, patients, days, due):
    if patients:
        store_batch(list(patients))
    assert ask(store, days) == (due, len(patients))


def test_it_is_told_of_how_many_hospitals_the_new_patients_are(store, store_batch):
    store_batch(["a", "b"])
    store_batch(["a"], hospital="west")
    due = find_due(store, SplitOptions(protocol="dealt"), now=NOW)
    assert (due.new_patients, due.hospitals) == (3, 2)


@pytest.mark.usefixtures("retrained")
def test_what_was_looked_at_by_hand_or_under_another_protocol_is_no_retraining(store, store_batch):
    store_batch(["c", "d", "e"])
    decide(store, "look", kind="look")
    assert ask(store) == (True, 3)
    assert ask(store, protocol="cruz-roa-2014") == (True, 5)
    decide(store, "second")
    assert ask(store) == (False, 0)


@pytest.mark.usefixtures("retrained")
def test_where_the_last_snapshot_is_gone_its_patients_are_new(store):
    assert ask(store) == (False, 0)
    shutil.rmtree(store.settings.snapshots)
    assert ask(store) == (False, 2)
