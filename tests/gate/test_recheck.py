"""New gate or test patients evaluate the champion too, once, and no alias moves by it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from registered import read_aliases

from bcd.errors import BcdError
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.comparison import compare_versions
from bcd.gate.options import GateOptions
from bcd.gate.overrides import force_promotion
from bcd.gate.recheck import recheck_champion
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff

GREEN, RED, WRONG, _, LEAKY = "12345"
EVALUATE = EvaluateOptions(resamples=100, min_patches=5, min_patients=2)


@pytest.fixture
def grown(first):
    """The snapshot after more patients came: of its twelve gate patients, two are test patients now."""
    moved = first.patches["patient"].isin(["1010", "1011"])
    patches = first.patches.assign(split=first.patches["split"].mask(moved, "test"))
    return replace(first, id="b" * 64, patches=patches)


def recheck(store, snapshot):
    return recheck_champion(store, snapshot=snapshot, options=GateOptions(), evaluate=EVALUATE)


def test_the_champion_is_evaluated_again_on_new_patients_and_only_then(undecided, store, gate, first, grown):
    gate(GREEN), gate(RED)
    assert recheck(store, first) is None  # these very patients made it champion

    verdict = recheck(store, grown)

    assert (verdict.verdict, verdict.challenger, verdict.champion) == ("PROMOTE", RED, GREEN)
    assert re.match(r"bcd-idc/2 .*\b2 test patients", verdict.reported[0])
    last = list_stored_decisions(store)[-1]
    assert (last.kind, last.evidence["figures"]["test_patients"]) == ("recheck", 2)
    assert read_aliases(undecided) == {"champion": RED, "previous": GREEN}
    assert recheck(store, grown) is None


def test_a_champion_that_no_longer_holds_is_told_and_stays(undecided, store, gate, grown):
    gate(RED)
    force_promotion(store, WRONG, SignOff("Dr Lee", "by mistake"))

    assert recheck(store, grown).verdict == "REJECT"
    assert read_aliases(undecided) == {"champion": WRONG, "previous": RED}


def test_without_champion_nobody_is_evaluated_and_without_previous_it_stands_alone(undecided, store, gate, grown):
    assert recheck(store, grown) is None
    gate(GREEN)

    verdict = recheck(store, grown)

    assert (verdict.challenger, verdict.champion) == (GREEN, None)


def test_a_previous_champion_who_has_seen_the_gate_patients_is_left_out(undecided, store, first):
    for version in (LEAKY, RED):
        force_promotion(store, version, SignOff("Dr Lee", "another protocol"))

    verdict = recheck(store, first)

    assert (verdict.verdict, verdict.champion) == ("PROMOTE", None)
    assert read_aliases(undecided) == {"champion": RED, "previous": LEAKY}
    assert recheck(store, first) is None


def test_two_versions_are_compared_on_the_same_test_patients(undecided, store, grown, monkeypatch):
    monkeypatch.setattr("bcd.gate.comparison.load_snapshot", lambda *_: grown)
    there = compare_versions(store, GREEN, RED, EVALUATE)
    back = compare_versions(store, RED, GREEN, EVALUATE)

    assert (there.split, there.n_patients, there.a, there.b) == ("test", 2, "bcd-idc/1", "bcd-idc/2")
    assert there.differences["auroc"].value > 0
    assert back.differences["auroc"].value == pytest.approx(-there.differences["auroc"].value)
    assert list_stored_decisions(store) == []  # nobody looked at the gate


def test_a_comparison_on_gate_patients_leaves_a_look(undecided, store, gate, first):
    with pytest.raises(BcdError, match="--by NAME --reason TEXT"):
        compare_versions(store, GREEN, RED, EVALUATE, split="gate")
    assert list_stored_decisions(store) == []

    sign_off = SignOff("Dr Lee", "curious")
    compare_versions(store, GREEN, RED, EVALUATE, split="gate", sign_off=sign_off)

    (look,) = list_stored_decisions(store)
    assert (look.kind, look.verdict, look.by, look.evidence["patients"]) == ("look", "LOOK", "Dr Lee", 12)
    assert re.findall(r"\d+", gate(GREEN).check("looks").text) == ["2", "12", "2"]
    assert read_aliases(undecided) == {"champion": GREEN}


def test_a_version_is_not_compared_with_itself(undecided, store):
    with pytest.raises(BcdError, match="bcd-idc/2"):
        compare_versions(store, RED, "bcd-idc/2", EVALUATE)
