from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.errors import BcdError
from bcd.registry.bundle import MODEL, load_bundle
from bcd.registry.history import champion_version, list_versions
from bcd.registry.record import read_record
from bcd.registry.tracking import open_client

PIXELS = np.random.default_rng(3).integers(0, 256, (20, 50, 50, 3), dtype=np.uint8)

IN_A_NOTEBOOK = """
import sys, mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/bcd-idc@champion")
assert not any(name.split(".")[0] in ("prefect", "flows") for name in sys.modules)
model.predict(np.load(sys.argv[2])).to_parquet(sys.argv[3])
"""


@pytest.fixture(scope="module")
def bundle(register, shared_settings):
    return register(shared_settings, "red")


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


def test_a_bundle_sharpens_raw_patches_by_itself(bundle, networks):
    from bcd.preprocessing.options import PrepareOptions
    from bcd.preprocessing.prepare import prepare
    from bcd.training.predict import load_network, predict_logits

    network = load_network(networks["red"])
    prepared = predict_logits(network, prepare(PIXELS, PrepareOptions()))
    raw = predict_logits(network, PIXELS)

    np.testing.assert_allclose(bundle.score(PIXELS)["logit"], prepared, atol=1e-6)
    assert np.abs(raw - prepared).max() > 1e-3


def test_another_process_gets_the_same_scores_from_mlflow_alone(bundle, shared_settings, tmp_path):
    open_client(shared_settings).set_registered_model_alias(MODEL, "champion", bundle.version)
    np.save(tmp_path / "pixels.npy", PIXELS)
    uri = f"sqlite:///{shared_settings.mlflow / 'mlflow.db'}"
    files = [str(tmp_path / "pixels.npy"), str(tmp_path / "scores.parquet")]

    answer = subprocess.run(
        [sys.executable, "-c", IN_A_NOTEBOOK, uri, *files],
        cwd=Path(__file__).parents[2],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    there = pd.read_parquet(files[1])
    pd.testing.assert_frame_equal(there, bundle.score(PIXELS), rtol=0, atol=1e-6)


def test_nothing_in_a_bundle_is_pickled(bundle, shared_settings):
    files = [file.name for file in shared_settings.mlflow.rglob("*") if file.is_file()]

    assert {"network.keras", "bundle.json", "pyfunc_model.py"} <= set(files)
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".cloudpickle"))]


def test_requirements_name_each_package_once_and_pin_it(bundle, shared_settings):
    (file,) = shared_settings.mlflow.rglob("requirements.txt")
    lines = file.read_text().split()

    assert all("==" in line for line in lines)
    assert max(Counter(line.split("==")[0] for line in lines).values()) == 1
    assert {"bcd", "keras", "numpy", "opencv-python-headless"} <= {line.split("==")[0] for line in lines}


def test_the_signature_is_raw_patches_in_and_named_columns_out(bundle):
    import mlflow

    info = mlflow.models.get_model_info(f"models:/{MODEL}/{bundle.version}")

    assert info.signature.inputs.inputs[0].type == np.dtype("uint8")
    assert info.signature.inputs.inputs[0].shape == (-1, 50, 50, 3)
    assert info.signature.outputs.input_names() == list(bundle.score(PIXELS[:1]).columns)


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


def test_mlflow_refuses_scaled_patches_as_well(bundle):
    import mlflow

    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{bundle.version}")
    with pytest.raises(mlflow.MlflowException, match="uint8"):
        model.predict(PIXELS.astype(np.float32) / 255)


def test_no_patch_gives_no_row(bundle):
    assert bundle.score(PIXELS[:0]).empty


def test_the_same_key_registers_once(register, settings):
    assert [register(settings, name).version for name in ("red", "red", "green")] == ["1", "1", "2"]
    assert [found.version for found in list_versions(settings)] == ["1", "2"]


def test_a_bundle_comes_back_with_its_record(bundle, shared_settings):
    found = load_bundle(shared_settings, "bcd-idc/1")

    assert found.name == "bcd-idc/1"
    assert found.record == bundle.record
    assert found.record.versions["keras"]


def test_a_missing_champion_is_told_with_the_mend(settings):
    assert champion_version(settings) is None
    with pytest.raises(BcdError, match=r"no champion of bcd-idc.*bcd retrain"):
        load_bundle(settings)


@pytest.mark.parametrize("which", ["7", "bcd-idc/7", "previous"])
def test_a_missing_version_is_told_with_the_mend(bundle, shared_settings, which):
    with pytest.raises(BcdError, match=rf"no {which} of bcd-idc.*bcd status"):
        load_bundle(shared_settings, which)


def test_the_registry_says_what_a_version_is_and_what_it_is_not_for(bundle, shared_settings):
    client = open_client(shared_settings)
    version = client.get_model_version(MODEL, bundle.version)

    assert "Research use only" in client.get_registered_model(MODEL).description
    assert "AUROC 0.953" in version.description
    assert "aaaaaaaaaaaa" in version.description
    assert version.tags["bcd.protocol"] == "dealt"
    (listed,) = list_versions(shared_settings)
    assert listed.metrics == {"test_auroc_pooled": 0.953, "test_accuracy_pooled": 0.91}
    assert listed.verdict is None


def test_a_bundle_that_prepares_patches_otherwise_is_refused_in_a_sentence(bundle, tmp_path):
    path = tmp_path / "record.json"
    text = bundle.record.model_dump_json()
    path.write_text(text)
    assert read_record(path) == bundle.record
    path.write_text(text.replace('"version":1', '"version":2'))
    with pytest.raises(BcdError, match=r"cannot use the bundle: preparation\.version"):
        read_record(path)
