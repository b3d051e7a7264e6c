from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bcd.bundle.record import read_record
from bcd.bundle.registry import load_bundle, load_registered_bundle, require_registered_version
from bcd.errors import BcdError, DamagedError, NotFoundError
from bcd.gate.history import find_champion_version, list_versions_with_verdicts
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

EXAMPLE = np.zeros((2, 50, 50, 3), np.uint8)  # as it is registered with
PIXELS = np.random.default_rng(3).integers(0, 256, (20, 50, 50, 3), dtype=np.uint8)

PICKLED = b"\x80"  # how a pickle of any protocol since 2 begins

IN_A_NOTEBOOK = """
import importlib.util, sys
from pathlib import Path
sys.path = [entry for entry in sys.path if not Path(entry, "bcd").is_dir()]
assert importlib.util.find_spec("bcd") is None
needed_by_bcd_only = ("prefect", "optuna", "typer", "keras", "tensorflow")
sys.modules.update(dict.fromkeys(needed_by_bcd_only))  # importing one raises
import mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/bcd-idc@champion")
model.predict(np.load(sys.argv[2])).to_parquet(sys.argv[3])
import bcd
assert Path(bcd.__file__).is_relative_to(sys.argv[4]), bcd.__file__
assert "flows" not in sys.modules
"""


@pytest.fixture(scope="module")
def bundle(register, shared_settings):
    return register(shared_settings, "red")


@pytest.fixture(scope="module")
def ensemble(register, ensemble_settings):
    return register(ensemble_settings, "lit", "red", turns=8)


def test_scores_are_prepared_calibrated_and_decided_by_the_policy(bundle):
    scores = bundle.score(PIXELS)

    assert list(scores.columns) == [
        "logit",
        "probability",
        "label",
        "confident_80",
        "confident_95",
        "confident_99_99",
    ]
    assert len(scores) == len(PIXELS)
    np.testing.assert_allclose(scores["probability"], 1 / (1 + np.exp(-scores["logit"].astype(float))))
    assert (scores["label"] == (scores["probability"] >= 0.5)).all()
    sure = np.maximum(scores["probability"], 1 - scores["probability"])
    assert (scores["confident_80"] == (sure >= 0.8)).all()


def test_a_bundle_says_how_far_its_networks_and_turns_disagree_where_there_are_several(bundle, ensemble):
    assert bundle.score(PIXELS, spread=True)["spread"].isna().all()
    found = ensemble.score(PIXELS, spread=True)
    assert found["spread"].between(0, 0.5).all()
    assert found["spread"].max() > 0.01
    assert "spread" not in ensemble.score(PIXELS[:1])


def test_a_bundle_sharpens_raw_patches_by_itself(bundle, networks):
    from bcd.networks.keras_files import load_network
    from bcd.preprocessing.options import PrepareOptions
    from bcd.preprocessing.prepare import prepare
    from bcd.training.predict import predict_logits

    network = load_network(networks["red"])
    prepared = predict_logits(network, prepare(PIXELS, PrepareOptions()))
    raw = predict_logits(network, PIXELS)

    np.testing.assert_allclose(bundle.score(PIXELS)["logit"], prepared, atol=1e-6)
    assert np.abs(raw - prepared).max() > 1e-3


def test_a_notebook_without_bcd_gets_the_same_scores_from_mlflow_alone(ensemble, ensemble_settings, tmp_path):
    open_mlflow_client(ensemble_settings).set_registered_model_alias(MODEL, "champion", ensemble.version)
    np.save(tmp_path / "pixels.npy", PIXELS)
    uri = f"sqlite:///{ensemble_settings.mlflow / 'mlflow.db'}"
    files = [str(tmp_path / "pixels.npy"), str(tmp_path / "scores.parquet")]

    answer = subprocess.run(
        [sys.executable, "-c", IN_A_NOTEBOOK, uri, *files, str(ensemble_settings.mlflow)],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    there = pd.read_parquet(files[1])
    pd.testing.assert_frame_equal(there, ensemble.score(PIXELS), rtol=0, atol=1e-6)


def test_an_ensemble_answers_with_the_mean_of_its_networks_in_all_turns(ensemble, networks):
    from bcd.networks.keras_files import load_network
    from bcd.preprocessing.options import PrepareOptions
    from bcd.preprocessing.prepare import prepare
    from bcd.training.predict import turn_patches

    prepared = prepare(PIXELS, PrepareOptions())
    loaded = [load_network(networks[name]) for name in ("lit", "red")]
    answers = [network.predict_on_batch(turn)[:, 0] for network in loaded for turn in turn_patches(prepared)]

    assert np.ptp(answers, axis=0).max() > 1e-2
    np.testing.assert_allclose(ensemble.score(PIXELS)["logit"], np.mean(answers, axis=0), atol=1e-5)
    assert (ensemble.record.ensemble.members, ensemble.record.ensemble.turns) == (2, 8)


def test_an_ensemble_turned_is_scored_the_same(ensemble):
    turned = np.ascontiguousarray(PIXELS.transpose(0, 2, 1, 3)[:, ::-1])

    np.testing.assert_allclose(ensemble.score(turned)["logit"], ensemble.score(PIXELS)["logit"], atol=1e-4)


def test_a_bundle_is_code_networks_and_a_graph_and_nothing_in_it_is_pickled(bundle, shared_settings):
    import mlflow

    files = [file for file in (shared_settings.mlflow / "artifacts").rglob("*") if file.is_file()]
    flavour = mlflow.models.get_model_info(f"models:/{MODEL}/{bundle.version}").flavors["python_function"]

    held = {"network-1.keras", "networks.xml", "networks.bin", "bundle.json", "pyfunc_model.py"}
    assert held <= {file.name for file in files}
    assert flavour["model_code_path"].endswith("pyfunc_model.py")
    assert "python_model" not in flavour  # where MLflow would name a pickled one
    assert not [file for file in files if file.read_bytes()[:1] == PICKLED]


def test_requirements_name_each_package_once_and_pin_it(bundle, shared_settings):
    (file,) = shared_settings.mlflow.rglob("requirements.txt")
    lines = file.read_text().split()

    assert all("==" in line for line in lines)
    assert max(Counter(line.split("==")[0] for line in lines).values()) == 1
    names = {line.split("==")[0] for line in lines}
    assert {"openvino", "numpy", "opencv-python-headless"} <= names
    assert not names & {"keras", "tensorflow"}


def test_no_index_is_asked_for_bcd_which_the_bundle_carries(bundle, shared_settings):
    (requirements,) = shared_settings.mlflow.rglob("requirements.txt")
    (code,) = shared_settings.mlflow.rglob("code")
    carried = {str(file.relative_to(code)) for file in code.rglob("*.py")}

    assert "bcd" not in requirements.read_text()
    assert {"bcd/bundle/scorer.py", "bcd/preprocessing/prepare.py", "bcd/training/predict.py"} <= carried
    assert not [name for name in carried if name.startswith(("bcd/cli", "bcd/scoring", "bcd/admission", "flows"))]


def test_a_bundle_carries_no_code_that_trains(shared_settings, bundle):
    (code,) = shared_settings.mlflow.rglob("code")

    assert not [file for file in code.rglob("*.py") if "backend import keras" in file.read_text()]


def test_processes_that_bcd_starts_run_its_own_code_not_a_bundles(bundle, shared_settings):
    load_bundle(shared_settings, bundle.version)

    assert not [entry for entry in sys.path if entry.startswith(str(shared_settings.home))]


def test_the_signature_is_raw_patches_in_and_named_columns_out(bundle):
    import mlflow

    info = mlflow.models.get_model_info(f"models:/{MODEL}/{bundle.version}")

    assert info.signature.inputs.inputs[0].type == np.dtype("uint8")
    assert info.signature.inputs.inputs[0].shape == (-1, 50, 50, 3)
    assert info.signature.outputs.input_names() == list(bundle.score(PIXELS[:1]).columns)


@pytest.fixture
def as_mlflow_loads_it(bundle, monkeypatch):
    """The bundle as MLflow's users have it; MLflow puts its code first on the search path, and leaves it there."""
    import mlflow

    monkeypatch.setattr(sys, "path", sys.path)
    return mlflow.pyfunc.load_model(f"models:/{MODEL}/{bundle.version}")


def test_the_example_beside_the_signature_can_be_scored(bundle, as_mlflow_loads_it):
    model = as_mlflow_loads_it

    pd.testing.assert_frame_equal(model.predict(model.input_example), bundle.score(EXAMPLE), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "named"),
    [
        (PIXELS.astype(np.float32) / 255, "float32"),
        (PIXELS[:, :48], r"\(20, 48, 50, 3\)"),
        (PIXELS[0], r"\(50, 50, 3\)"),
        (PIXELS.tolist(), "list"),
    ],
)
def test_what_is_no_raw_patch_is_refused_by_name(bundle, pixels, named):
    with pytest.raises(BcdError, match=named):
        bundle.score(pixels)


def test_mlflow_refuses_scaled_patches_as_well(as_mlflow_loads_it):
    import mlflow

    with pytest.raises(mlflow.MlflowException, match="uint8"):
        as_mlflow_loads_it.predict(PIXELS.astype(np.float32) / 255)


def test_no_patch_gives_no_row(bundle):
    assert bundle.score(PIXELS[:0]).empty


def test_the_same_key_registers_once(register, settings):
    assert [register(settings, name).version for name in ("red", "red", "green")] == ["1", "1", "2"]
    assert [found.version for found in list_versions_with_verdicts(settings)] == ["1", "2"]


@pytest.mark.parametrize("stage", ["written", "logged"])
def test_a_registration_killed_before_its_version_leaves_no_second_model(register, settings, monkeypatch, stage):
    import mlflow
    from mlflow import MlflowClient

    def die(*_args, **_named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if stage == "written":
            patch.setattr(MlflowClient, "finalize_logged_model", die)
        else:
            patch.setattr(MlflowClient, "create_model_version", die)
        with pytest.raises(KeyboardInterrupt):
            register(settings, "red")
    found = register(settings, "red")

    client = open_mlflow_client(settings)
    models = client.search_logged_models([client.get_experiment_by_name("bcd").experiment_id])
    assert [str(model.status) for model in models] == ["READY"]
    assert found.version == "1"
    assert len(found.score(PIXELS)) == len(PIXELS)
    run = client.get_run(client.get_model_version(MODEL, "1").run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == [models[0].model_id]
    assert mlflow.models.get_model_info(f"models:/{MODEL}/1").signature is not None


def test_a_bundle_behind_a_server_is_copied_and_scores_the_same(bundle, shared_settings):
    behind = replace(
        require_registered_version(shared_settings, bundle.version), files=""
    )  # as where only a server knows its files

    pd.testing.assert_frame_equal(load_registered_bundle(shared_settings, behind).score(PIXELS), bundle.score(PIXELS))
    with pytest.raises(DamagedError, match="bcd-idc/99"):
        load_registered_bundle(shared_settings, replace(behind, version="99"))


def test_a_bundle_comes_back_with_its_record(bundle, shared_settings):
    found = load_bundle(shared_settings, "bcd-idc/1")

    assert found.name == "bcd-idc/1"
    assert found.record == bundle.record
    assert found.record.versions["keras"]


def test_a_missing_champion_is_told_with_the_fix(settings):
    assert find_champion_version(settings) is None
    with pytest.raises(BcdError, match=r"\bchampion of bcd-idc.*`bcd retrain`"):
        load_bundle(settings)


@pytest.mark.parametrize("which", ["7", "bcd-idc/7", "previous"])
def test_a_missing_version_is_told_with_the_fix(bundle, shared_settings, which):
    with pytest.raises(NotFoundError, match=rf"\b{which} of bcd-idc.*`bcd model list`"):
        load_bundle(shared_settings, which)


def test_the_registry_says_what_a_version_is_and_what_it_is_not_for(bundle, shared_settings):
    client = open_mlflow_client(shared_settings)
    version = client.get_model_version(MODEL, bundle.version)

    assert "Research use only" in client.get_registered_model(MODEL).description
    assert "compact, AUROC 0.953" in version.description
    assert "aaaaaaaaaaaa" in version.description
    assert version.tags["bcd.protocol"] == "dealt"
    (listed,) = list_versions_with_verdicts(shared_settings)
    assert listed.metrics == {"test_auroc_pooled": 0.953, "test_accuracy_pooled": 0.91}
    assert listed.verdict is None


def test_a_bundle_that_prepares_patches_otherwise_is_refused_in_a_sentence(bundle, tmp_path):
    path = tmp_path / "record.json"
    text = bundle.record.model_dump_json()
    path.write_text(text)
    assert read_record(path) == bundle.record
    path.write_text(text.replace('"version":1', '"version":2'))
    with pytest.raises(DamagedError, match=r"preparation\.version"):
        read_record(path)


def test_registering_leaves_the_places_where_modules_are_looked_for_as_they_were(registry_settings, register):
    """Regression: MLflow's temporary copy of the code, removed by then, was the first of them."""
    before = list(sys.path)
    register(registry_settings, "red")
    assert sys.path == before
