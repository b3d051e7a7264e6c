from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registered import read_aliases

from bcd.bundle.aliases import finish_moving_aliases
from bcd.errors import BcdError, LeakageError, NotFoundError
from bcd.gate.history import find_champion_version, list_versions_with_verdicts
from bcd.snapshots.freeze import Snapshot, load_snapshot
from bcd.store.decisions import list_stored_decisions, store_decision
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import experiment_id, open_mlflow_client

GREEN, RED, WRONG, RED_AGAIN, LEAKY = "12345"
"""Versions: a fair network, a good one, one that has it the wrong way round, the good one again, and one that was
trained on gate patients."""


def test_a_registry_starts_improves_and_holds_with_a_record_of_each(gate, undecided, store):

    assert gate(GREEN).verdict == "PROMOTE"
    assert read_aliases(undecided) == {"champion": GREEN}
    assert gate(RED).verdict == "PROMOTE"
    assert read_aliases(undecided) == {"champion": RED, "previous": GREEN}
    assert gate(WRONG).verdict == "REJECT"
    assert read_aliases(undecided) == {"champion": RED, "previous": GREEN}

    decisions = list_stored_decisions(store)
    assert [(d.challenger, d.champion, d.verdict) for d in decisions] == [
        (GREEN, None, "PROMOTE"),
        (RED, GREEN, "PROMOTE"),
        (WRONG, RED, "REJECT"),
    ]
    assert len({d.evidence["gate_digest"] for d in decisions}) == 1
    assert decisions[0].evidence["patients"] == 12
    assert [found.verdict for found in list_versions_with_verdicts(undecided)][:3] == ["PROMOTE", "PROMOTE", "REJECT"]
    tags = open_mlflow_client(undecided).get_model_version(MODEL, RED).tags
    assert tags["bcd.previous_champion"] == GREEN
    assert tags["bcd.promoted_at"] == decisions[1].decided_at.isoformat(timespec="seconds")


def test_a_held_challenger_keeps_an_alias_until_it_is_promoted(gate, undecided):
    gate(RED)
    small = gate_of_few_patients(load_snapshot(undecided, list_versions_with_verdicts(undecided)[0].snapshot))

    assert gate(GREEN, on=small).verdict == "HOLD"
    assert read_aliases(undecided) == {"champion": RED, "challenger": GREEN}
    assert gate(GREEN, key="once more").verdict == "REJECT"
    assert read_aliases(undecided) == {"champion": RED}
    assert gate(RED_AGAIN, on=small, key="few").verdict == "HOLD"
    assert gate(RED_AGAIN).verdict == "PROMOTE"
    assert read_aliases(undecided) == {"champion": RED_AGAIN, "previous": RED}


def gate_of_few_patients(whole):
    few = whole.patches[~whole.patches["patient"].isin([f"{1000 + i}" for i in range(5)])]
    return Snapshot("few" * 20, "dealt", few)


def test_a_look_at_the_gate_patients_is_logged_with_what_it_saw(gate, undecided):
    verdict = gate(GREEN)

    client = open_mlflow_client(undecided)
    (run,) = client.search_runs([experiment_id(client)], "tags.`bcd.kind` = 'gate'")
    assert run.info.status == "FINISHED"
    assert run.data.tags["bcd.verdict"] == "PROMOTE"
    assert len(run.data.tags["bcd.gate_digest"]) == 64
    assert run.inputs.dataset_inputs[0].dataset.name == f"{run.data.tags['bcd.snapshot'][:8]} gate dealt"
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    assert json.loads((folder / "verdict.json").read_text())["reasons"] == verdict.reasons
    assert {path.name for path in folder.iterdir()} == {"verdict.json", "verdict.md", "challenger_scores.parquet"}
    assert verdict.check("looks").value == 1
    assert re.findall(r"\d+", verdict.check("looks").text) == ["1", "12", "1"]  # at these, of how many, at any


def test_the_same_key_decides_once(gate, undecided, store):
    first = gate(GREEN)

    assert gate(GREEN) == first
    assert len(list_stored_decisions(store)) == 1


@pytest.mark.parametrize("dies_at", ["previous", "champion"])
def test_a_promotion_killed_between_the_aliases_is_finished_by_the_next_run(
    gate, undecided, store, *, monkeypatch, dies_at
):
    gate(GREEN)
    move = MlflowClient.set_registered_model_alias

    def die(self, name, alias, version):
        if alias == dies_at:
            raise KeyboardInterrupt
        move(self, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(KeyboardInterrupt):
            gate(RED)
    assert find_champion_version(undecided) == GREEN

    assert gate(RED).verdict == "PROMOTE"
    assert read_aliases(undecided) == {"champion": RED, "previous": GREEN}
    assert len(list_stored_decisions(store)) == 2


def test_a_gate_killed_before_its_decision_leaves_nothing_and_decides_next_time(gate, undecided, store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("bcd.gate.promotion.store_decision", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gate(GREEN)
    assert (find_champion_version(undecided), list_stored_decisions(store)) == (None, [])

    assert gate(GREEN).verdict == "PROMOTE"
    client = open_mlflow_client(undecided)
    assert len(client.search_runs([experiment_id(client)], "tags.`bcd.kind` = 'gate'")) == 1


def test_an_alias_that_a_person_moved_back_stays_where_it_is(gate, undecided):
    gate(GREEN), gate(RED)
    open_mlflow_client(undecided).set_registered_model_alias(MODEL, "champion", GREEN)

    gate(RED)
    assert find_champion_version(undecided) == GREEN
    gate(WRONG)
    assert find_champion_version(undecided) == GREEN


@pytest.mark.parametrize("role", ["challenger", "champion"])
def test_a_model_is_not_evaluated_by_patients_it_learned_from(gate, undecided, store, role):
    champion, challenger = (LEAKY, RED) if role == "champion" else (RED, LEAKY)
    open_mlflow_client(undecided).set_registered_model_alias(MODEL, "champion", champion)

    with pytest.raises(LeakageError, match=r"\b4 patients\b.*h1/1000, "):
        gate(challenger)
    assert list_stored_decisions(store) == []


def test_the_champion_does_not_challenge_itself(gate):
    gate(GREEN)

    with pytest.raises(BcdError, match=rf"{MODEL}/{GREEN}\b"):
        gate(GREEN, key="another look")


def test_an_unknown_challenger_is_told(gate):
    with pytest.raises(NotFoundError, match=r"\b77 of bcd-idc.*`bcd model list`"):
        gate("77")


def test_a_decision_about_another_registry_s_version_moves_nothing(gate, undecided, store):
    gate(GREEN)
    (decision,) = list_stored_decisions(store)
    evidence = decision.evidence | {"bundle": "of a registry that is gone"}
    store_decision(store, replace(decision, key="old", challenger=RED, champion=GREEN, evidence=evidence))

    finish_moving_aliases(open_mlflow_client(undecided), store)

    assert find_champion_version(undecided) == GREEN
