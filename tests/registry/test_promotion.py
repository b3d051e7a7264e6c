from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from bcd.errors import BcdError
from bcd.evaluation.options import EvaluateOptions
from bcd.registry.bundle import MODEL
from bcd.registry.gate import GateOptions
from bcd.registry.history import champion_version, list_versions
from bcd.registry.promotion import finish_last_decision, run_gate
from bcd.registry.tracking import experiment_id, open_client
from bcd.store.catalog import open_catalog
from bcd.store.decisions import list_decisions, record_decision

GREEN, RED, WRONG, RED_AGAIN, LEAKY = "12345"
"""Versions: a fair network, a good one, one that has it the wrong way round, the good one again, and one that was
trained on gate patients."""


@pytest.fixture(scope="module")
def snapshot(shared_settings, make_hospital):
    return make_hospital(shared_settings)


@pytest.fixture(scope="module")
def home(shared_settings, register, snapshot, make_hospital):
    leaky = make_hospital(shared_settings, name="b", gate=0, offset=1000)
    for network, key, trained_on in [
        ("green", "1", snapshot),
        ("red", "2", snapshot),
        ("wrong", "3", snapshot),
        ("red", "4", snapshot),
        ("red", "5", leaky),
    ]:
        register(shared_settings, network, key=key, snapshot=trained_on.id)
    return shared_settings


@pytest.fixture
def settings(home, tmp_path):
    """The registered versions before anything was decided, with a catalog of the test's own."""
    client = open_client(home)
    for found in list_versions(home):
        for alias in found.aliases:
            client.delete_registered_model_alias(MODEL, alias)
        for tag in ("bcd.decision", "bcd.verdict", "bcd.promoted_at", "bcd.previous_champion", "bcd.reasons"):
            client.delete_model_version_tag(MODEL, found.version, tag)
    for run in client.search_runs([experiment_id(client)], "tags.`bcd.kind` = 'gate'"):
        client.delete_run(run.info.run_id)
    return home.model_copy(update={"catalog_url": f"sqlite:///{tmp_path / 'catalog.db'}"})


@pytest.fixture
def catalog(settings):
    return open_catalog(settings)


@pytest.fixture
def gate(settings, catalog, snapshot):
    """Runs the gate on a version."""

    def _gate(challenger, key=None, on=snapshot):
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


def test_a_registry_starts_improves_and_holds_with_a_record_of_each(gate, settings, catalog):

    assert gate(GREEN).verdict == "PROMOTE"
    assert aliases(settings) == {"champion": GREEN}
    assert gate(RED).verdict == "PROMOTE"
    assert aliases(settings) == {"champion": RED, "previous": GREEN}
    assert gate(WRONG).verdict == "REJECT"
    assert aliases(settings) == {"champion": RED, "previous": GREEN}

    decisions = list_decisions(catalog)
    assert [(d.challenger, d.champion, d.verdict) for d in decisions] == [
        (GREEN, None, "PROMOTE"),
        (RED, GREEN, "PROMOTE"),
        (WRONG, RED, "REJECT"),
    ]
    assert len({d.evidence["gate_digest"] for d in decisions}) == 1
    assert decisions[0].evidence["patients"] == 12
    assert [found.verdict for found in list_versions(settings)][:3] == ["PROMOTE", "PROMOTE", "REJECT"]
    tags = open_client(settings).get_model_version(MODEL, RED).tags
    assert tags["bcd.previous_champion"] == GREEN
    assert tags["bcd.promoted_at"] == decisions[1].decided_at.isoformat(timespec="seconds")


def test_a_held_challenger_keeps_an_alias_until_it_is_promoted(gate, settings, snapshot):
    gate(RED)
    small = gate_of_few_patients(snapshot)

    assert gate(GREEN, on=small).verdict == "HOLD"
    assert aliases(settings) == {"champion": RED, "challenger": GREEN}
    assert gate(GREEN, key="once more").verdict == "REJECT"
    assert aliases(settings) == {"champion": RED}
    assert gate(RED_AGAIN, on=small, key="few").verdict == "HOLD"
    assert gate(RED_AGAIN).verdict == "PROMOTE"
    assert aliases(settings) == {"champion": RED_AGAIN, "previous": RED}


def gate_of_few_patients(whole):
    from bcd.store.snapshots import Snapshot

    few = whole.patches[~whole.patches["patient"].isin([f"{1000 + i}" for i in range(5)])]
    return Snapshot("few" * 20, "dealt", few)


def test_a_look_at_the_gate_patients_is_logged_with_what_it_saw(gate, settings):
    verdict = gate(GREEN)

    client = open_client(settings)
    (run,) = client.search_runs([experiment_id(client)], "tags.`bcd.kind` = 'gate'")
    assert run.info.status == "FINISHED"
    assert run.data.tags["bcd.verdict"] == "PROMOTE"
    assert len(run.data.tags["bcd.gate_digest"]) == 64
    assert run.inputs.dataset_inputs[0].dataset.name == "dealt gate"
    folder = Path(run.info.artifact_uri)
    assert json.loads((folder / "verdict.json").read_text())["reasons"] == verdict.reasons
    assert {path.name for path in folder.iterdir()} == {"verdict.json", "verdict.md", "challenger_scores.parquet"}


def test_the_same_key_decides_once(gate, settings, catalog):
    first = gate(GREEN)

    assert gate(GREEN) == first
    assert len(list_decisions(catalog)) == 1


@pytest.mark.parametrize("dies_at", ["previous", "champion"])
def test_a_promotion_killed_between_the_aliases_is_finished_by_the_next_run(
    gate, settings, catalog, *, monkeypatch, dies_at
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
    assert champion_version(settings) == GREEN

    assert gate(RED).verdict == "PROMOTE"
    assert aliases(settings) == {"champion": RED, "previous": GREEN}
    assert len(list_decisions(catalog)) == 2


def test_a_gate_killed_before_its_decision_leaves_nothing_and_decides_next_time(gate, settings, catalog, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("bcd.registry.promotion.record_decision", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gate(GREEN)
    assert (champion_version(settings), list_decisions(catalog)) == (None, [])

    assert gate(GREEN).verdict == "PROMOTE"
    client = open_client(settings)
    assert len(client.search_runs([experiment_id(client)], "tags.`bcd.kind` = 'gate'")) == 1


def test_an_alias_that_a_person_moved_back_stays_where_it_is(gate, settings):
    gate(GREEN), gate(RED)
    open_client(settings).set_registered_model_alias(MODEL, "champion", GREEN)

    gate(RED)
    assert champion_version(settings) == GREEN
    gate(WRONG)
    assert champion_version(settings) == GREEN


@pytest.mark.parametrize("role", ["challenger", "champion"])
def test_a_model_is_not_judged_by_patients_it_learned_from(gate, settings, catalog, role):
    champion, challenger = (LEAKY, RED) if role == "champion" else (RED, LEAKY)
    open_client(settings).set_registered_model_alias(MODEL, "champion", champion)

    with pytest.raises(BcdError, match=r"has seen 4 patients who would judge it: h1/1000"):
        gate(challenger)
    assert list_decisions(catalog) == []


def test_the_champion_does_not_challenge_itself(gate):
    gate(GREEN)

    with pytest.raises(BcdError, match="champion already"):
        gate(GREEN, key="another look")


def test_an_unknown_challenger_is_told(gate):
    with pytest.raises(BcdError, match=r"no 77 of bcd-idc.*bcd status"):
        gate("77")


def test_a_decision_about_another_registry_s_version_moves_nothing(gate, settings, catalog):
    gate(GREEN)
    (decision,) = list_decisions(catalog)
    evidence = decision.evidence | {"bundle": "of a registry that is gone"}
    record_decision(catalog, replace(decision, key="old", challenger=RED, champion=GREEN, evidence=evidence))

    finish_last_decision(settings, catalog)

    assert champion_version(settings) == GREEN
