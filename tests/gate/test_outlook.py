"""`bcd status` says what the gate will do for the coming months, and what it waits for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from stored import store_patients

from bcd.gate.outlook import find_outlook
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.store import Store

LATER = datetime.now(UTC) + timedelta(days=365.25 / 12)


def deal(store: Store, patients: int, labels: tuple[int, ...] = (0, 1)) -> int:
    """Admits patients, deals them, and returns how many are gate patients."""
    store_patients(store, [f"p{number}" for number in range(patients)], labels=labels)
    return int(freeze_snapshot(store, SplitOptions()).of("gate")["patient"].nunique())


def test_of_an_empty_home_it_says_that_all_wait(empty_store: Store) -> None:
    found = find_outlook(empty_store)
    assert (found.patients, found.missing, found.monthly, found.anchor) == (0, 10, None, None)
    assert found.budget.level == 0


def test_with_too_few_gate_patients_it_says_how_many_come_and_until_when(empty_store: Store) -> None:
    gate = deal(empty_store, 40)
    assert gate == 6
    assert find_outlook(empty_store).monthly is None  # a day says nothing of a rate

    found = find_outlook(empty_store, LATER)
    assert (found.patients, found.missing) == (6, 4)
    assert found.monthly == pytest.approx(40, abs=0.1)
    assert "about 27, at 40 a month" in found.sentence  # 4 of .15
    assert f"{LATER + timedelta(days=27 / 40 * 365.25 / 12):%B %Y}" in found.sentence


def test_patients_of_one_class_do_not_count_for_the_other(empty_store: Store) -> None:
    assert deal(empty_store, 80, labels=(1,)) == 12
    found = find_outlook(empty_store)
    assert (found.patients, found.missing) == (12, 10)


def test_those_who_are_not_labelled_yet_are_not_waited_with(empty_store: Store) -> None:
    deal(empty_store, 40)
    store_patients(empty_store, [f"u{number}" for number in range(40)], labels=[None])
    assert find_outlook(empty_store, LATER).monthly == pytest.approx(40, abs=0.1)


def test_with_enough_it_says_what_the_next_look_spends(empty_store: Store) -> None:
    assert deal(empty_store, 80) == 12
    found = find_outlook(empty_store)
    assert (found.missing, found.budget.patients) == (0, 12)
    assert "12 patients" in found.sentence
