"""With `[gate] approvers`, whoever is not on the list makes no version champion, by whatever command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bcd.errors import BcdError
from bcd.gate.adoption import make_released_champion
from bcd.gate.options import GateOptions
from bcd.gate.overrides import answer_approval, force_promotion, roll_back
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff

LEE, MAY = SignOff("Dr Lee", "the audit asks for it"), SignOff("Dr May", "I like it")


@pytest.fixture
def listed(store):
    """A store whose bcd.toml names one approver."""
    return replace(store, settings=store.settings.model_copy(update={"gate": {"approvers": ["Dr Lee"]}}))


@pytest.mark.parametrize(
    "sign",
    [
        lambda store, by: answer_approval(store, "2", by, "PROMOTE"),
        lambda store, by: answer_approval(store, "2", by, "REJECT"),
        lambda store, by: force_promotion(store, "2", by),
        roll_back,
        make_released_champion,
    ],
    ids=["approve", "reject", "force", "roll back", "adopt"],
)
def test_who_is_not_on_the_list_is_refused_and_the_list_is_named(listed, sign):
    with pytest.raises(BcdError, match=r"Dr May .*: Dr Lee\..*approvers"):
        sign(listed, MAY)
    assert list_stored_decisions(listed) == []


def test_who_is_on_the_list_answers_what_the_gate_asks(listed, gate):
    gate("1")
    gate("2", approval=True)
    with pytest.raises(BcdError, match="Dr May"):
        answer_approval(listed, "2", MAY, "PROMOTE")
    assert answer_approval(listed, "2", LEE, "PROMOTE").by == "Dr Lee"


def test_the_list_is_no_part_of_a_plan():
    assert "approvers" not in GateOptions(approvers=["Dr Lee"]).model_dump()
