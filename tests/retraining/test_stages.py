"""A retraining of an ensemble: its key, its run in MLflow, and the bundle that it registers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.bundle.probes import draw_tissue_probes
from bcd.bundle.registry import find_card
from bcd.formats import format_level
from bcd.networks.architecture import Architecture, Stage, Stem, describe_architecture
from bcd.networks.keras_files import load_network
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.retraining import logging
from bcd.retraining.plan import Choice, write_choice, write_plan
from bcd.retraining.stages import (
    evaluate_stage,
    gate_stage,
    is_retraining_finished,
    register_stage,
    train_stage,
)
from bcd.store.batches import read_batch_pixels
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client
from bcd.training.ensemble import find_trained_ensemble
from bcd.training.options import SINGLE, EnsembleOptions, TrainOptions
from bcd.training.predict import predict_logits

TINY = Architecture(stem=Stem(filters=4, stride=5), stages=[Stage(filters=4, depth=1)])
TRAINING = TrainOptions(epochs=2, batch_size=8, min_train_patients=2, min_val_patients=2, seed=3)
CHOSEN = PrepareOptions(sharpen=False)
ENSEMBLE = EnsembleOptions(members=2, turns=8)


@pytest.fixture(scope="module")
def retraining(shared_settings, make_hospital):
    """Planned, and with a choice: a network that trains in a second."""
    made = write_plan(
        shared_settings.model_copy(update={"evaluation": {"resamples": 100}}),
        make_hospital(shared_settings),
        preparation=PrepareOptions(sharpen=True),
        training=TRAINING,
        ensemble=ENSEMBLE,
    )
    choice = Choice(architecture=TINY, training=TRAINING, preparation=CHOSEN, study=None, note="Chosen by hand.")
    write_choice(shared_settings, made, choice)
    return made


@pytest.fixture(scope="module")
def trained(shared_settings, retraining):
    """Interrupted after the first member's first epoch, and done again; watched twenty times a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
        log = logging._log_epoch

        def interrupt(*told):
            log(*told)
            raise KeyboardInterrupt

        patch.setattr(logging, "_log_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_stage(shared_settings, retraining)
        patch.setattr(logging, "_log_epoch", log)
        return train_stage(shared_settings, retraining)


@pytest.fixture(scope="module")
def bundle(shared_settings, retraining, trained):
    evaluated = evaluate_stage(shared_settings, retraining, trained)
    return register_stage(shared_settings, retraining, trained, evaluated)


@pytest.fixture(scope="module")
def client(shared_settings):
    return open_mlflow_client(shared_settings)


@pytest.fixture(scope="module")
def run(client, trained):
    (found,) = client.search_runs([client.get_experiment_by_name("bcd").experiment_id], "tags.`bcd.kind` = 'retrain'")
    return found


@pytest.fixture(scope="module")
def child(client, run):
    """Finds the run of a kind under that of the retraining."""

    def find(kind):
        where = f"tags.`mlflow.parentRunId` = '{run.info.run_id}' and tags.`bcd.kind` = '{kind}'"
        (found,) = client.search_runs([run.info.experiment_id], where)
        return found

    return find


@pytest.mark.parametrize("ensemble", [{"members": 2}, {"turns": 8}, {"members": 2, "by": "folds"}, {"members": 3}])
def test_another_ensemble_is_another_retraining(shared_settings, retraining, ensemble):
    other = write_plan(shared_settings, retraining.snapshot, ensemble=EnsembleOptions(**ensemble))
    plain = write_plan(shared_settings, retraining.snapshot, ensemble=SINGLE)
    assert len({other.key, plain.key, retraining.key}) == 3


def test_the_run_is_named_by_its_snapshot_and_what_is_trained(run, bundle, client, retraining):
    name = f"retrain {retraining.snapshot.id[:6]} {retraining.key[:4]} {describe_architecture(TINY)} ×2 8 turns"  # noqa: RUF001
    assert run.info.run_name == name
    assert client.get_run(run.info.run_id).info.run_name == name  # by every stage


@pytest.mark.parametrize(
    "figure", ["loss", "gradient_norm", "learning_rate", "val_score", "patches_per_second", "waiting_seconds"]
)
def test_every_member_has_its_curves_each_point_once(client, run, child, trained, figure):
    for own, member in zip((run, child("network")), trained.members, strict=True):
        points = client.get_metric_history(own.info.run_id, figure)
        assert [(point.step, point.value) for point in points] == [
            (epoch, pytest.approx(row[figure])) for epoch, row in enumerate(member.history, 1)
        ]


def test_what_was_kept_is_in_the_row(run, child, trained):
    figures, (first, second) = run.data.metrics, trained.members
    assert figures["parameters"] == first.parameters + second.parameters
    assert figures["minutes"] == pytest.approx(sum(row["seconds"] for row in first.history + second.history) / 60)
    assert (figures["best_epoch"], child("network").data.metrics["best_epoch"]) == (
        first.best_epoch,
        second.best_epoch,
    )
    assert figures["best_val_score"] == pytest.approx(first.val_score)
    assert {child(kind).info.status for kind in ("network", "machine")} == {"FINISHED"}


def test_a_row_has_at_most_forty_figures_and_fifteen_that_are_no_curve(client, run, bundle):
    figures = client.get_run(run.info.run_id).data.metrics
    curves = {name for name in figures if len(client.get_metric_history(run.info.run_id, name)) > 1}
    assert len(figures) <= 40
    assert len(figures.keys() - curves) <= 15
    assert {"best_epoch", "minutes", "parameters"} <= figures.keys()
    assert not any(name.startswith("system/") for name in figures)


def test_options_data_code_and_machine_are_in_the_row(run, retraining):
    assert run.data.params["ensemble.members"] == "2"
    assert run.data.params["ensemble.turns"] == "8"
    assert run.data.params["training.seed"] == "3"
    assert run.data.params["preparation.sharpen"] == "False"
    assert run.data.params["architecture.stem.filters"] == "4"
    (dataset,) = {each.dataset.digest for each in run.inputs.dataset_inputs}
    assert dataset == retraining.snapshot.id[:36]
    tags = run.data.tags
    assert tags["bcd.precision"] in {"float32", "mixed_bfloat16"}
    assert tags["bcd.backend"].startswith("tensorflow 2.")
    assert tags["bcd.device"]
    assert len(tags["mlflow.source.git.commit"]) == 40


def test_the_machines_load_is_watched_and_goes_on_after_an_interruption(client, child):
    load = child("machine")
    steps = [m.step for m in client.get_metric_history(load.info.run_id, "system/cpu_utilization_percentage")]
    assert len(steps) > 2
    assert len(set(steps)) == len(steps)
    assert load.data.metrics["system/system_memory_usage_megabytes"] > 0


def test_the_bundle_answers_as_its_members_and_its_policy_is_theirs(bundle, shared_settings, retraining, trained):
    assert bundle.record.ensemble == ENSEMBLE
    assert bundle.record.training == TRAINING
    assert bundle.record.preparation == CHOSEN
    assert find_trained_ensemble(retraining.network(shared_settings), ENSEMBLE) == trained
    val = retraining.snapshot.of("val")
    raw = read_batch_pixels(shared_settings, val)
    networks = [load_network(path) for path in trained.paths]
    logits = predict_logits(networks, prepare(raw, CHOSEN), turns=8)
    np.testing.assert_allclose(bundle.score(raw)["logit"], logits, atol=1e-6)
    folder = retraining.folder(shared_settings) / "evaluation"
    np.testing.assert_allclose(pd.read_parquet(folder / "val.parquet")["logit"], logits, atol=1e-6)
    assert bundle.record.policy.model_dump_json(indent=2) == (folder / "policy.json").read_text()


def test_the_run_shows_what_the_policy_promises(client, run, retraining, bundle, tmp_path):
    certified = Path(client.download_artifacts(run.info.run_id, "val/certified.md", str(tmp_path))).read_text()
    for target in retraining.plan.evaluation.target_errors:
        assert f"≤ {format_level(target)}" in certified


def test_the_bundle_says_what_it_was_trained_and_calibrated_on(bundle, retraining):
    reference, train = bundle.record.reference, retraining.snapshot.of("train")
    assert reference.features["red"].patches.n == len(train)
    assert reference.patch_counts.n == train["patient"].nunique()
    assert sum(reference.scores.logits) == len(retraining.snapshot.of("val"))


def test_the_bundle_has_its_card_and_an_example_of_nobody(bundle, shared_settings, retraining):
    card = find_card(shared_settings, bundle.version)
    assert retraining.snapshot.id in card.markdown
    assert "Chosen by hand." in card.html
    (file,) = shared_settings.mlflow.rglob("card.md")
    assert file.read_text() == card.markdown
    (example,) = shared_settings.mlflow.rglob("serving_input_example.json")
    np.testing.assert_array_equal(json.loads(example.read_text())["inputs"], draw_tissue_probes(2))


def test_a_retraining_that_is_registered_is_not_described_again(
    shared_settings, retraining, trained, bundle, monkeypatch
):
    monkeypatch.setattr("bcd.retraining.stages.describe_training", lambda *_: pytest.fail("described again"))
    assert register_stage(shared_settings, retraining, trained, None).version == bundle.version


def test_every_network_is_a_plain_keras_model_with_its_signature_logged_once(
    client, run, shared_settings, retraining, trained
):
    import mlflow.keras

    train_stage(shared_settings, retraining)  # again: nothing new
    models = {
        model.name: model
        for model in client.search_logged_models([run.info.experiment_id])
        if model.source_run_id == run.info.run_id and "network" in model.name
    }
    assert sorted(models) == ["member2_network", "network"]
    assert len(client.get_run(run.info.run_id).outputs.model_outputs) >= 2
    prepared = prepare(read_batch_pixels(shared_settings, retraining.snapshot.of("val")), CHOSEN)
    for model, path in zip([models["network"], models["member2_network"]], trained.paths, strict=True):
        signature = mlflow.models.get_model_info(model.model_uri).signature
        assert signature.inputs.inputs[0].shape == (-1, 50, 50, 3)
        network = mlflow.keras.load_model(model.model_uri)
        expected = predict_logits(load_network(path), prepared)
        np.testing.assert_allclose(predict_logits(network, prepared), expected, atol=1e-6)


def test_a_retraining_with_nothing_new_leaves_its_runs_alone(shared_settings, retraining, trained, bundle, client):
    assert not is_retraining_finished(shared_settings, retraining)
    verdict = gate_stage(shared_settings, retraining)
    before = all_runs(client)

    assert is_retraining_finished(shared_settings, retraining)
    again = train_stage(shared_settings, retraining)
    evaluated = evaluate_stage(shared_settings, retraining, again)
    assert register_stage(shared_settings, retraining, again, evaluated).version == bundle.version
    assert gate_stage(shared_settings, retraining) == verdict
    assert all_runs(client) == before


def test_what_a_finished_retraining_left_is_made_again_where_it_is_gone(shared_settings, retraining, bundle, client):
    gate_stage(shared_settings, retraining)
    for alias in ("champion", "challenger"):
        client.delete_registered_model_alias(MODEL, alias)
    client.delete_model_version(MODEL, bundle.version)
    assert not is_retraining_finished(shared_settings, retraining)


def all_runs(client):
    found = client.search_runs([client.get_experiment_by_name("bcd").experiment_id])
    return {one.info.run_id: (one.info.status, one.info.end_time, one.data.to_dictionary()) for one in found}
