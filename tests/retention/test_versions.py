"""Old versions go with their files; what an alias, a ledger or the last n versions need stays."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registered import copy_home

from bcd.bundle.registry import load_bundle
from bcd.gate.anchor import find_anchor
from bcd.gate.history import list_gate_events, list_versions_with_verdicts
from bcd.gate.overrides import force_promotion
from bcd.patches import Hospital, PatientId
from bcd.retention.versions import prune_versions
from bcd.store.ledger import LedgerEntry, record_in_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store
from bcd.tracking.lookup import MODEL, find_mlflow_version
from bcd.tracking.store import open_mlflow_client


@pytest.fixture(scope="module")
def six_versions(shared_settings, register, make_hospital):
    """Six versions: 2 is previous and 3 champion, 4 has scored a patient."""
    snapshot = make_hospital(shared_settings)
    for number in range(1, 7):
        register(shared_settings, "green", key=str(number), snapshot=snapshot.id)
    store = open_store(shared_settings)
    force_promotion(store, "2", SignOff("Dr Lee", "first"))
    force_promotion(store, "3", SignOff("Dr Lee", "second"))
    entry = LedgerEntry(
        hospital=Hospital("h1"),
        patient=PatientId("1000"),
        bundle=f"{MODEL}/4",
        content="c",
        status="scored",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        folder="scores",
    )
    record_in_ledger(store, entry)
    store.engine.dispose()
    return shared_settings.home


@pytest.fixture
def hospital(six_versions, tmp_path):
    """A copy of the home with its six versions."""
    settings = copy_home(six_versions, tmp_path / "home")
    return settings, open_store(settings)


def test_an_anchor_that_a_person_deleted_gives_its_place_to_the_champion(hospital):
    settings, store = hospital
    client = open_mlflow_client(settings)
    assert (find_anchor(store), find_mlflow_version(client, "anchor")) == ("2", "2")
    client.delete_registered_model_alias(MODEL, "previous")
    client.delete_model_version(MODEL, "2")
    assert find_anchor(store) is None
    force_promotion(store, "4", SignOff("Dr Lee", "third"))
    assert (find_anchor(store), find_mlflow_version(client, "anchor")) == ("3", "3")


def numbers(settings) -> list[str]:
    return [found.version for found in list_versions_with_verdicts(settings)]


def models(settings) -> dict[str, Path]:
    client = open_mlflow_client(settings)
    found = [client.get_logged_model(one.source.removeprefix("models:/")) for one in versions(client)]
    return {one.model_id: Path(one.artifact_location.removeprefix("file://")) for one in found}


def versions(client: MlflowClient):
    return client.search_model_versions(f"name = '{MODEL}'")


def test_only_what_nothing_needs_is_removed_and_a_dry_run_says_it_first(hospital):
    settings, store = hospital
    folders, runs = models(settings), [found.run_id for found in list_versions_with_verdicts(settings)]

    said = prune_versions(store, keep=1, dry_run=True)
    assert numbers(settings) == ["1", "2", "3", "4", "5", "6"]
    done = prune_versions(store, keep=1)

    assert [one.version for one in done if not one.kept_for] == [f"{MODEL}/1", f"{MODEL}/5"]
    assert [one.kept_for for one in said] == [one.kept_for for one in done]
    reasons = {one.version.removeprefix(f"{MODEL}/"): one.kept_for for one in done}
    assert "alias previous" in reasons["2"]
    assert "alias champion" in reasons["3"]
    assert reasons["4"] == ["patients were scored with it"]
    assert reasons["6"] == ["one of the last 1"]
    assert all(one.size > 10_000 for one in said)
    assert numbers(settings) == ["2", "3", "4", "6"]
    left = models(settings)
    assert len(left) == 4
    assert all(any(folder.rglob("*.keras")) for folder in left.values())
    assert not any(any(folder.rglob("*")) for model, folder in folders.items() if model not in left)
    assert load_bundle(settings, "2").version == "2"
    client = open_mlflow_client(settings)
    assert {client.get_run(run).info.lifecycle_stage for run in runs} == {"active"}  # their evaluations stay
    events = {one.version: one.is_gone for one in list_gate_events(store)}
    assert events == dict.fromkeys([f"{MODEL}/{number}" for number in "2346"], False)


@pytest.mark.parametrize("dies_in", ["delete_model_version", "delete_logged_model"])
def test_a_removal_that_was_killed_is_completed_by_the_next(hospital, monkeypatch, dies_in):
    settings, store = hospital
    folders = models(settings)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, dies_in, die)
        with pytest.raises(KeyboardInterrupt):
            prune_versions(store, keep=1)
    prune_versions(store, keep=1)

    assert numbers(settings) == ["2", "3", "4", "6"]
    left = models(settings)
    assert not any(any(folder.rglob("*")) for model, folder in folders.items() if model not in left)


def test_what_a_removed_version_scored_in_shadow_goes_with_it(hospital):
    settings, store = hospital
    shadows = [settings.shadow / "h1" / "1000" / f"bcd-idc-{version}-beside-bcd-idc-3-c" for version in (1, 6)]
    for folder in shadows:
        folder.mkdir(parents=True)
        (folder / "scores.parquet").touch()
    prune_versions(store, keep=1, dry_run=True)
    assert all(folder.exists() for folder in shadows)
    prune_versions(store, keep=1)
    assert [folder.exists() for folder in shadows] == [False, True]


def test_a_retraining_whose_version_was_removed_registers_anew(hospital, register):
    settings, store = hospital
    prune_versions(store, keep=1)

    again = register(settings, "green", key="1", snapshot=list_versions_with_verdicts(settings)[0].snapshot)

    assert again.version == "7"
    assert load_bundle(settings, "7").score.__self__.version == "7"
