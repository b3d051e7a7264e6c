from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bcd.errors import BcdError
from bcd.evaluation.options import EvaluateOptions
from bcd.registry.bundle import MODEL
from bcd.registry.gate import GateOptions
from bcd.registry.history import champion_version, list_versions
from bcd.registry.promotion import run_gate
from bcd.registry.tracking import experiment_id, open_client
from bcd.store.decisions import list_decisions


@pytest.fixture
def gate(settings, catalog, snapshot):
    """Runs the gate on a version."""

    def _gate(challenger: str, key: str | None = None, on=snapshot):
        return run_gate(
            settings,
            catalog,
            key=key or f"gate/{challenger}",
            snapshot=on,
            challenger=challenger,
            options=GateOptions(),
            evaluate=EvaluateOptions(resamples=200),
        )

    return _gate


def aliases(settings) -> dict[str, str]:
    return {alias: found.version for found in list_versions(settings) for alias in found.aliases}


def test_a_registry_starts_improves_and_holds_with_a_record_of_each(register, gate, settings, catalog):
    register("green"), register("red"), register("wrong")

    assert gate("1").verdict == "PROMOTE"
    assert aliases(settings) == {"champion": "1"}
    assert gate("2").verdict == "PROMOTE"
    assert aliases(settings) == {"champion": "2", "previous": "1"}
    assert gate("3").verdict == "REJECT"
    assert aliases(settings) == {"champion": "2", "previous": "1"}

    decisions = list_decisions(catalog)
    assert [(d.challenger, d.champion, d.verdict) for d in decisions] == [
        ("1", None, "PROMOTE"),
        ("2", "1", "PROMOTE"),
        ("3", "2", "REJECT"),
    ]
    assert len({d.evidence["gate_digest"] for d in decisions}) == 1
    assert decisions[0].evidence["patients"] == 12
    assert [found.verdict for found in list_versions(settings)] == ["PROMOTE", "PROMOTE", "REJECT"]
    tags = open_client(settings).get_model_version(MODEL, "2").tags
    assert tags["bcd.previous_champion"] == "1"
    assert tags["bcd.promoted_at"] == decisions[1].decided_at.isoformat(timespec="seconds")


def test_a_held_challenger_keeps_an_alias_until_it_is_promoted(register, gate, settings):
    register("red"), register("green"), register("red", key="red again")
    gate("1")
    small = gate_of_few_patients(settings)

    assert gate("2", on=small).verdict == "HOLD"
    assert aliases(settings) == {"champion": "1", "challenger": "2"}
    assert gate("2", key="once more").verdict == "REJECT"
    assert aliases(settings) == {"champion": "1"}
    assert gate("3").verdict == "PROMOTE"
    assert aliases(settings) == {"champion": "3", "previous": "1"}


def gate_of_few_patients(settings):
    from bcd.store.snapshots import Snapshot, load_snapshot

    whole = load_snapshot(settings, "aaa")
    few = whole.patches[~whole.patches["patient"].isin([f"{1000 + i}" for i in range(5)])]
    return Snapshot("few" * 20, "dealt", few)


def test_a_look_at_the_gate_patients_is_logged_with_what_it_saw(register, gate, settings):
    register("red")
    verdict = gate("1")

    client = open_client(settings)
    (run,) = client.search_runs([experiment_id(client)], "tags.`bcd.kind` = 'gate'")
    assert run.info.status == "FINISHED"
    assert run.data.tags["bcd.verdict"] == "PROMOTE"
    assert len(run.data.tags["bcd.gate_digest"]) == 64
    assert run.inputs.dataset_inputs[0].dataset.name == "dealt gate"
    folder = Path(run.info.artifact_uri)
    assert json.loads((folder / "verdict.json").read_text())["reasons"] == verdict.reasons
    assert {path.name for path in folder.iterdir()} == {"verdict.json", "verdict.md", "challenger_scores.parquet"}


def test_the_same_key_decides_once(register, gate, settings, catalog):
    register("red")
    first = gate("1")

    assert gate("1") == first
    assert len(list_decisions(catalog)) == 1


@pytest.mark.parametrize("dies_at", ["previous", "champion"])
def test_a_promotion_killed_between_the_aliases_is_finished_by_the_next_run(
    register, gate, settings, catalog, *, monkeypatch, dies_at
):
    register("green"), register("red")
    gate("1")
    move = MlflowClient.set_registered_model_alias

    def die(self, name, alias, version):
        if alias == dies_at:
            raise KeyboardInterrupt
        move(self, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(KeyboardInterrupt):
            gate("2")
    assert champion_version(settings) == "1"

    assert gate("2").verdict == "PROMOTE"
    assert aliases(settings) == {"champion": "2", "previous": "1"}
    assert len(list_decisions(catalog)) == 2


def test_a_gate_killed_before_its_decision_leaves_nothing_and_decides_next_time(
    register, gate, settings, catalog, monkeypatch
):
    register("red")
    with monkeypatch.context() as patch:
        patch.setattr("bcd.registry.promotion.record_decision", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gate("1")
    assert (champion_version(settings), list_decisions(catalog)) == (None, [])

    assert gate("1").verdict == "PROMOTE"
    client = open_client(settings)
    assert len(client.search_runs([experiment_id(client)], "tags.`bcd.kind` = 'gate'")) == 1


def test_an_alias_that_a_person_moved_back_stays_where_it_is(register, gate, settings):
    register("green"), register("red"), register("wrong")
    gate("1"), gate("2")
    open_client(settings).set_registered_model_alias(MODEL, "champion", "1")

    gate("2")
    assert champion_version(settings) == "1"
    gate("3")
    assert champion_version(settings) == "1"


@pytest.mark.parametrize("role", ["challenger", "champion"])
def test_a_model_is_not_judged_by_patients_it_learned_from(
    register, gate, settings, catalog, *, snapshot_trained_on_gate_patients, role
):
    seen = snapshot_trained_on_gate_patients.id
    register("red", snapshot=seen if role == "champion" else "a" * 64)
    register("green", snapshot=seen if role == "challenger" else "a" * 64)
    open_client(settings).set_registered_model_alias(MODEL, "champion", "1")

    with pytest.raises(BcdError, match=r"has seen 4 patients who would judge it: h1/1000"):
        gate("2")
    assert list_decisions(catalog) == []


def test_the_champion_does_not_challenge_itself(register, gate):
    register("red")
    gate("1")

    with pytest.raises(BcdError, match="champion already"):
        gate("1", key="another look")
