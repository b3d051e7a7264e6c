"""Beside the champion, a challenger is compared with the anchor, which moves only to what is shown to be better."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from bcd.evaluation.options import EvaluateOptions
from bcd.gate.anchor import find_anchor
from bcd.gate.budget import find_budget, tell_risk
from bcd.gate.comparison import compare_versions
from bcd.gate.history import list_gate_events, list_versions_with_verdicts
from bcd.gate.options import GateOptions
from bcd.gate.overrides import answer_approval, force_promotion, roll_back
from bcd.gate.verdict import Verdict
from bcd.retention.versions import prune_versions
from bcd.settings import Settings
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.tracking.lookup import MODEL, find_mlflow_version
from bcd.tracking.store import open_mlflow_client

GREEN, RED, WRONG, RED_AGAIN, LEAKY = "12345"
LEE = SignOff("Dr Lee", "the audit")

Gate = Callable[..., Verdict]


def anchors(settings: Settings, store: Store) -> tuple[str | None, str | None]:
    """The anchor by the catalog, and what the registry shows."""
    return find_anchor(store), find_mlflow_version(open_mlflow_client(settings), "anchor")


def test_the_first_champion_is_the_anchor_until_a_version_is_shown_to_be_better(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    assert find_anchor(store) is None
    assert gate(GREEN).confirmed
    assert anchors(undecided, store) == (GREEN, GREEN)

    better = gate(RED)
    assert (better.anchor, better.confirmed, better.check("anchor auroc").low > 0) == (GREEN, True, True)
    assert anchors(undecided, store) == (RED, RED)


def test_a_version_that_is_no_worse_becomes_champion_and_not_anchor(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    gate(RED)
    equal = gate(RED_AGAIN)
    assert (equal.verdict, equal.confirmed, equal.check("anchor auroc").low) == ("PROMOTE", False, 0.0)
    assert find_mlflow_version(open_mlflow_client(undecided), "champion") == RED_AGAIN
    assert anchors(undecided, store) == (RED, RED)


def test_who_is_better_than_the_champion_and_worse_than_the_anchor_is_held(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    gate(RED), force_promotion(store, WRONG, LEE)
    held = gate(GREEN)

    assert (held.verdict, held.champion, held.anchor) == ("HOLD", WRONG, RED)
    assert held.check("auroc").passed
    assert not held.check("anchor auroc").passed
    assert held.check("anchor auroc").text in held.reasons
    assert not held.check("anchor recall").passed
    assert {check.name for check in held.checks} >= {"anchor specificity", "anchor calibration", "anchor patients"}
    assert anchors(undecided, store) == (RED, RED)


def test_a_champion_whose_alias_was_deleted_opens_no_way_past_the_anchor(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    gate(RED)
    open_mlflow_client(undecided).delete_registered_model_alias(MODEL, "champion")
    held = gate(WRONG)
    assert (held.verdict, held.champion, held.anchor) == ("HOLD", None, RED)
    assert gate(RED_AGAIN).verdict == "PROMOTE"


def test_a_person_s_word_moves_the_champion_and_not_the_anchor(gate: Gate, undecided: Settings, store: Store) -> None:
    gate(GREEN), force_promotion(store, RED, LEE)
    assert anchors(undecided, store) == (GREEN, GREEN)
    roll_back(store, LEE)
    roll_back(store, SignOff("Dr Lee", "after all"))
    assert anchors(undecided, store) == (GREEN, GREEN)


def test_a_rollback_from_a_confirmed_champion_leaves_it_the_anchor(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    gate(GREEN), gate(RED)
    roll_back(store, LEE)
    assert find_mlflow_version(open_mlflow_client(undecided), "champion") == GREEN
    assert anchors(undecided, store) == (RED, RED)


@pytest.mark.parametrize(("answer", "anchor"), [("PROMOTE", RED), ("HOLD", GREEN)])
def test_what_awaits_approval_becomes_the_anchor_when_it_is_approved(
    gate: Gate, undecided: Settings, store: Store, answer: str, anchor: str
) -> None:
    gate(GREEN)
    assert gate(RED, approval=True).confirmed
    assert anchors(undecided, store) == (GREEN, GREEN)
    answer_approval(store, RED, LEE, answer)  # type: ignore[arg-type]
    assert anchors(undecided, store) == (anchor, anchor)


def test_killed_before_the_alias_moves_the_next_one_to_decide_moves_it(
    gate: Gate, undecided: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate(GREEN)
    move = MlflowClient.set_registered_model_alias

    def die(self: MlflowClient, name: str, alias: str, version: str) -> None:
        if alias == "anchor":
            raise KeyboardInterrupt
        move(self, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(KeyboardInterrupt):
            gate(RED)
    assert anchors(undecided, store) == (RED, GREEN)  # the catalog promoted and moved the anchor at once

    assert gate(RED).verdict == "PROMOTE"
    assert anchors(undecided, store) == (RED, RED)
    assert len(list_stored_decisions(store)) == 2


def test_an_alias_that_a_person_moved_is_set_right_by_the_next_decision(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    gate(RED)
    open_mlflow_client(undecided).set_registered_model_alias(MODEL, "anchor", WRONG)
    assert gate(GREEN).anchor == RED
    assert anchors(undecided, store) == (RED, RED)


def test_the_anchor_is_never_pruned_whatever_became_of_its_alias(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    gate(GREEN)
    for version in (RED, WRONG, RED_AGAIN, RED):
        force_promotion(store, version, LEE)
    open_mlflow_client(undecided).delete_registered_model_alias(MODEL, "anchor")
    found = {one.version: one.kept_for for one in prune_versions(store, keep=1, dry_run=True)}
    assert found[f"{MODEL}/{GREEN}"] == ["the anchor of the gate"]


def test_an_anchor_that_was_trained_on_gate_patients_gives_its_place_to_the_champion(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    force_promotion(store, LEAKY, LEE), force_promotion(store, RED, LEE)
    assert anchors(undecided, store) == (LEAKY, LEAKY)
    verdict = gate(GREEN)
    assert (verdict.champion, verdict.anchor) == (RED, RED)
    assert f"{MODEL}/{LEAKY}" in verdict.check("budget").text
    assert anchors(undecided, store) == (RED, RED)


def test_each_look_spends_less_than_the_one_before_and_every_verdict_says_what_is_left_and_what_renews_it(
    gate: Gate, undecided: Settings, store: Store
) -> None:
    first = gate(GREEN)
    assert first.check("budget").value == 0  # nothing was compared
    spent = [gate(version, key=key).check("budget") for version, key in ((RED, "a"), (WRONG, "b"), (GREEN, "c"))]

    levels = [check.value or 0.0 for check in spent]
    assert levels == sorted(levels, reverse=True)
    assert levels == pytest.approx([one.level for one in list_stored_decisions(store)[1:]])
    budget = find_budget(store, list_stored_decisions(store)[-1].evidence["protocol"], 12, GateOptions())
    for verdict_says in (spent[-1].text, list_gate_events(store)[-1].why[-1]):
        assert f"{MODEL}/{RED}" in verdict_says
        assert tell_risk(budget.left) in verdict_says
        assert tell_risk(budget.renewal) in verdict_says


def test_a_look_by_hand_spends_too(gate: Gate, store: Store) -> None:
    gate(GREEN)
    compare_versions(store, GREEN, RED, EvaluateOptions(resamples=100), split="gate", sign_off=LEE)
    look = list_stored_decisions(store)[-1]
    assert (look.kind, look.level > 0) == ("look", True)
    assert gate(RED).check("budget").value == pytest.approx(0.9 * look.level)


def test_the_versions_show_who_is_anchor(gate: Gate, undecided: Settings) -> None:
    gate(RED)
    held = {one.version: one.aliases for one in list_versions_with_verdicts(undecided)}
    assert held[RED] == ["anchor", "champion"]
