"""A person may overrule the gate: with a name, a reason, a record, and all aliases or none."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from mlflow import MlflowClient
from registered import read_aliases

from bcd.bundle.aliases import finish_moving_aliases
from bcd.errors import BcdError, NotFoundError
from bcd.gate import overrides
from bcd.gate.history import list_gate_events
from bcd.gate.overrides import answer_approval, find_awaiting_sign_off, force_promotion, roll_back
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

GREEN, RED, WRONG = "123"
LEE = SignOff("Dr Lee", "the audit asks for it")
STEPS = ("set_registered_model_alias", "delete_registered_model_alias", "set_model_version_tag")


@pytest.fixture
def champion(undecided, store):
    """GREEN is champion by a person's word."""
    force_promotion(store, GREEN, SignOff("Dr May", "the first one"))
    return undecided


def test_a_forced_promotion_is_recorded_with_name_and_reason(champion, store):
    made = force_promotion(store, WRONG, LEE)

    assert read_aliases(champion) == {"champion": WRONG, "previous": GREEN}
    kept = list_stored_decisions(store)[-1]
    assert (kept.key, kept.kind, kept.sign_off) == (made.key, "forced", LEE)
    assert (kept.challenger, kept.champion, kept.verdict) == (WRONG, GREEN, "PROMOTE")
    assert [LEE.by in reason and LEE.reason in reason for reason in kept.reasons] == [True]


def test_a_rollback_exchanges_champion_and_previous_and_once_more_undoes_it(champion, store):
    force_promotion(store, RED, LEE)

    back = roll_back(store, SignOff("Dr May", "it misses lobules"))
    assert (back.challenger, back.champion, back.kind) == (GREEN, RED, "rollback")
    assert read_aliases(champion) == {"champion": GREEN, "previous": RED}

    roll_back(store, SignOff("Dr May", "it was the scanner"))
    assert read_aliases(champion) == {"champion": RED, "previous": GREEN}


def test_a_command_that_is_given_twice_decides_once(champion, store):
    force_promotion(store, RED, LEE)
    assert force_promotion(store, RED, LEE) == list_stored_decisions(store)[-1]
    roll_back(store, LEE)
    roll_back(store, LEE)

    assert [one.kind for one in list_stored_decisions(store)] == ["forced", "forced", "rollback"]
    assert read_aliases(champion) == {"champion": GREEN, "previous": RED}


def test_what_cannot_be_done_is_told(champion, store):
    with pytest.raises(BcdError, match=f"{MODEL}/{GREEN}"):
        force_promotion(store, "champion", LEE)
    with pytest.raises(NotFoundError, match=r"\b77\b"):
        force_promotion(store, "77", LEE)
    with pytest.raises(NotFoundError, match="`bcd model promote VERSION`"):
        roll_back(store, LEE)
    with pytest.raises(NotFoundError, match=f"{MODEL}/{RED}"):
        answer_approval(store, RED, LEE, "PROMOTE")
    assert len(list_stored_decisions(store)) == 1


def test_a_version_that_does_not_load_becomes_champion_for_nobody(champion, store, monkeypatch):
    def fail(*_):
        raise BcdError("Its files are gone.", "Retrain.")

    monkeypatch.setattr(overrides, "load_bundle", fail)
    with pytest.raises(BcdError, match="files are gone"):
        force_promotion(store, RED, LEE)
    assert read_aliases(champion) == {"champion": GREEN}
    assert len(list_stored_decisions(store)) == 1


def run_killed(monkeypatch, at, action):
    """Runs an action that dies before its step `at`: recording the decision, each alias, each tag."""
    taken = Counter()

    def count(original):
        def step(*arguments, **named):
            if taken["steps"] == at:
                raise KeyboardInterrupt
            taken["steps"] += 1
            return original(*arguments, **named)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(overrides, "store_decision", count(overrides.store_decision))
        for name in STEPS:
            patch.setattr(MlflowClient, name, count(getattr(MlflowClient, name)))
        try:
            action()
        except KeyboardInterrupt:
            return True
    return False


@pytest.mark.parametrize("command", ["forced", "rollback"])
def test_a_death_between_any_two_steps_is_fixed_by_the_same_command(champion, store, monkeypatch, command):
    monkeypatch.setattr(overrides, "_require_loadable", lambda *_: None)  # tested above, and slow
    client = open_mlflow_client(champion)
    for at in range(20):
        # GREEN is champion and, for a rollback, RED the one before it.
        for version in (RED, GREEN):
            if read_aliases(champion).get("champion") != version:
                force_promotion(store, version, SignOff("Dr May", f"before kill {at}"))
        before, sign_off = len(list_stored_decisions(store)), SignOff("Dr Lee", f"kill {at}")

        def action(sign_off=sign_off):
            return force_promotion(store, RED, sign_off) if command == "forced" else roll_back(store, sign_off)

        killed = run_killed(monkeypatch, at, action)
        recorded = len(list_stored_decisions(store)) - before
        assert recorded == (0 if killed and at == 0 else 1)  # what was not recorded has not happened
        assert read_aliases(champion)["champion"] in {GREEN, RED}  # there is one at every moment
        action()
        assert read_aliases(champion) == {"champion": RED, "previous": GREEN}
        assert len(list_stored_decisions(store)) == before + 1
        assert finish_moving_aliases(client, store) is None
        if not killed:
            break
    assert at == 9  # the record, three aliases, four tags and the last one; at the tenth nothing is left to be killed


def test_an_unfinished_decision_is_finished_by_whoever_decides_next(champion, store, monkeypatch):
    assert run_killed(monkeypatch, 2, lambda: force_promotion(store, RED, LEE))
    assert read_aliases(champion)["champion"] == GREEN

    roll_back(store, SignOff("Dr May", "no, back"))

    assert read_aliases(champion) == {"champion": GREEN, "previous": RED}
    assert [one.kind for one in list_stored_decisions(store)] == ["forced", "forced", "rollback"]


def test_where_a_person_has_to_approve_the_gate_only_proposes(champion, store, gate):
    verdict = gate(RED, approval=True)

    assert (verdict.verdict, verdict.awaits_approval) == ("PROMOTE", True)
    assert verdict.markdown() != verdict.model_copy(update={"awaits_approval": False}).markdown()
    assert read_aliases(champion) == {"champion": GREEN, "challenger": RED}
    assert find_awaiting_sign_off(store).challenger == RED

    answer_approval(store, RED, LEE, "PROMOTE")

    assert read_aliases(champion) == {"champion": RED, "previous": GREEN}
    assert find_awaiting_sign_off(store) is None
    again = gate(RED, approval=True)
    assert (again.verdict, again.awaits_approval) == ("PROMOTE", False)
    assert all(said in again.reasons[0] for said in (LEE.by, "PROMOTE", LEE.reason))
    assert [one.what for one in list_gate_events(store)][-2:] == ["awaits approval", "approval"]


@pytest.mark.parametrize(("answer", "kept"), [("HOLD", {"challenger": RED}), ("REJECT", {})])
def test_a_person_may_say_no(champion, store, gate, answer, kept):
    gate(RED, approval=True)

    answer_approval(store, RED, LEE, answer)

    assert read_aliases(champion) == {"champion": GREEN, **kept}
    assert list_stored_decisions(store)[-1].verdict == answer


def test_an_approval_that_comes_after_the_champion_changed_holds(champion, store, gate):
    gate(RED, approval=True)
    force_promotion(store, WRONG, LEE)

    answered = answer_approval(store, RED, SignOff("Dr May", "fine"), "PROMOTE")

    assert answered.verdict == "HOLD"
    assert re.search(rf"\b{WRONG}\b", answered.reasons[0])
    assert read_aliases(champion)["champion"] == WRONG


def test_what_was_forced_meanwhile_needs_no_approval_any_more(champion, store, gate):
    gate(RED, approval=True)
    force_promotion(store, RED, LEE)

    assert find_awaiting_sign_off(store) is None
    assert read_aliases(champion) == {"champion": RED, "previous": GREEN}


def test_history_tells_who_did_what_and_why_and_of_versions_that_are_gone(champion, store):
    force_promotion(store, RED, LEE)
    roll_back(store, SignOff("Dr May", "it misses lobules"))
    events = [one for one in list_gate_events(store) if one.what != "registered"]

    assert [(one.version, one.what, one.by) for one in events] == [
        (f"{MODEL}/{GREEN}", "forced", "Dr May"),
        (f"{MODEL}/{RED}", "forced", "Dr Lee"),
        (f"{MODEL}/{GREEN}", "rollback", "Dr May"),
    ]
    [why] = events[-1].why
    assert all(said in why for said in ("Dr May", f"{MODEL}/{RED}", "it misses lobules"))
    assert not any(one.is_gone for one in events)
