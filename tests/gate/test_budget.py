"""All looks together spend no more than the budget; each can spend a little; new gate patients renew it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import new_store

from bcd.gate.budget import find_budget, open_budget, tell_risk, unlock_budget
from bcd.gate.options import GateOptions
from bcd.patches import SnapshotId
from bcd.settings import Settings
from bcd.store.decisions import Decision, store_decision

OPTIONS = GateOptions()

PATIENTS = st.lists(st.integers(10, 400), min_size=1, max_size=60)


@given(patients=PATIENTS, share=st.floats(0.01, 0.9), half=st.integers(1, 300))
def test_whatever_patients_come_and_go_all_looks_spend_less_than_the_budget_and_each_something(
    patients: list[int], share: float, half: int
) -> None:
    options = GateOptions(look_share=share, half_budget_at=half)
    looks: list[tuple[int, float]] = []
    for number in patients:
        budget = open_budget(looks, number, options)
        assert 0 < budget.level <= budget.left <= budget.unlocked < options.budget
        looks.append((number, budget.level))
    assert sum(level for _, level in looks) < unlock_budget(max(patients), options)


@given(patients=PATIENTS, new=st.integers(1, 50))
def test_looks_at_the_same_patients_are_ever_stricter_and_new_patients_renew_what_the_next_may_spend(
    patients: list[int], new: int
) -> None:
    looks: list[tuple[int, float]] = []
    for number in patients:
        looks.append((number, open_budget(looks, number, OPTIONS).level))
    most = max(patients)
    same = open_budget(looks, most, OPTIONS)
    assert open_budget([*looks, (most, same.level)], most, OPTIONS).level < same.level
    assert open_budget(looks, most - new, OPTIONS).level == same.level  # who left comes back as nobody new
    assert open_budget(looks, most + new, OPTIONS).level > same.level
    assert open_budget(looks, most + 1, OPTIONS).left == pytest.approx(same.left + same.renewal)


def test_half_of_the_budget_is_unlocked_by_so_many_patients_and_never_all() -> None:
    assert unlock_budget(OPTIONS.half_budget_at, OPTIONS) == pytest.approx(OPTIONS.budget / 2)
    assert unlock_budget(10**9, OPTIONS) < OPTIONS.budget


def test_a_risk_has_two_digits_however_small() -> None:
    assert [tell_risk(one) for one in (0.0125, 0.00031, 1.7e-7)] == ["1.2 %", "0.031 %", "1.7e-05 %"]


def test_the_catalog_says_what_was_spent_on_the_patients_of_a_protocol(settings: Settings) -> None:
    store = new_store(settings)
    look = Decision(
        key="1",
        decided_at=datetime(2026, 1, 2, tzinfo=UTC),
        verdict="HOLD",
        challenger="2",
        champion="1",
        snapshot=SnapshotId("s"),
        reasons=[],
        evidence={"protocol": "dealt", "patients": 30, "level": 0.002},
    )
    without = {"protocol": "dealt", "patients": 80}  # a recheck: it promotes nobody
    other = look.evidence | {"protocol": "leave-one-hospital-out:east"}
    store_decision(store, look)
    store_decision(store, replace(look, key="2", kind="recheck", evidence=without))
    store_decision(store, replace(look, key="3", kind="look"))
    store_decision(store, replace(look, key="4", evidence=other))

    budget = find_budget(store, "dealt", 20, OPTIONS)
    assert (budget.patients, budget.spent) == (30, 0.004)
    assert budget.left == pytest.approx(unlock_budget(30, OPTIONS) - 0.004)
    assert "30 gate patients" in budget.tell(budget.level)
