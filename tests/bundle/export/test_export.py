"""A bundle as one file of another format: the same scores from raw patches, without bcd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from bcd.bundle.export import runtimes
from bcd.bundle.export.export import TOLERANCE, ExportNote, export_bundle
from bcd.bundle.export.graph import build_graph
from bcd.bundle.export.runtimes import RUNTIMES
from bcd.bundle.probes import draw_bundle_probes, draw_tissue_probes
from bcd.bundle.registry import open_bundle_folder, require_registered_version
from bcd.bundle.write import load_networks, write_bundle
from bcd.errors import BcdError
from bcd.evaluation.policy.certified import CertifiedThreshold
from bcd.evaluation.policy.context import Context
from bcd.networks.architecture import Architecture, Head, Stage, Stem
from bcd.networks.build import build_network
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.training.options import EnsembleOptions

FORMATS = list(RUNTIMES)

# Values at both ends, so that the sharpening saturates, and of all contrasts.
PIXELS = np.concatenate(
    [draw_bundle_probes(6), np.random.default_rng(8).integers(0, 256, (6, 50, 50, 3), dtype=np.uint8)]
)

WITHOUT_BCD = """
import json, sys
from pathlib import Path
sys.path = [entry for entry in sys.path if not Path(entry, "bcd").is_dir()]
sys.modules["bcd"] = None  # importing it raises
sys.modules["openvino_telemetry"] = None
import keras, numpy as np, onnxruntime, openvino
folder, pixels = Path(sys.argv[1]), np.load(sys.argv[2])
found = {}
for name, file in {"keras": "bundle.keras", "hdf5": "bundle.h5"}.items():
    found[name] = keras.saving.load_model(folder / file)(pixels)
session = onnxruntime.InferenceSession(str(folder / "bundle.onnx"))
found["onnx"] = dict(zip(("logit", "probability"), session.run(["logit", "probability"], {"patches": pixels})))
compiled = openvino.Core().compile_model(str(folder / "bundle.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
answer = compiled(pixels)
found["openvino"] = {name: answer[name] for name in ("logit", "probability")}
def to_lists(scores):
    return {key: np.asarray(values)[:, 0].tolist() for key, values in scores.items()}
Path(sys.argv[3]).write_text(json.dumps({name: to_lists(scores) for name, scores in found.items()}))
"""


@pytest.fixture(scope="module")
def bundle(register, shared_settings, networks, tmp_path_factory):
    """An ensemble of eight turns: a network that minds how a patch lies, and two that have every kind of layer."""
    stages = [Stage(filters=12, depth=2, residual=True, dropout=0.2, pooling="average")]
    tiles, wide = Stem(kind="patchify", filters=6, kernel=5, stride=5), Head(reduce="flatten", dense=8, dropout=0.2)
    kinds = {
        "rich": Architecture(stem=Stem(filters=8), stages=stages, normalisation="group"),
        "tiled": Architecture(stem=tiles, stages=[Stage(filters=8, kernel=5)], order="norm-relu-conv", head=wide),
    }
    for name, architecture in kinds.items():
        networks[name] = tmp_path_factory.mktemp(name) / f"{name}.keras"
        build_network(architecture, seed=4).save(networks[name])
    return register(shared_settings, "lit", *kinds, turns=8)


@pytest.fixture(scope="module")
def single(register, shared_settings):
    return register(shared_settings, "red")


@pytest.fixture(scope="module")
def folder_of(shared_settings):
    """Returns where the files of a registered bundle lie."""

    def _folder_of(bundle):
        with open_bundle_folder(
            shared_settings, require_registered_version(shared_settings, bundle.version)
        ) as folder:
            return folder

    return _folder_of


@pytest.fixture
def rewrite(networks, make_graph, tmp_path):
    """Writes the single network's bundle with another record."""

    def _rewrite(single, **changes):
        record = single.record.model_copy(update=changes)
        write_bundle(tmp_path / "changed", networks=[networks["red"]], graph=make_graph("red"), record=record)
        return tmp_path / "changed"

    return _rewrite


@pytest.fixture(scope="module")
def exported(bundle, folder_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    notes = {
        name: export_bundle(folder_of(bundle), bundle.name, name, folder / f"bundle{RUNTIMES[name].suffix}")
        for name in FORMATS
    }
    return folder, notes


@pytest.fixture(scope="module")
def elsewhere(exported, tmp_path_factory):
    """What every file answers in a process that cannot import bcd."""
    folder = tmp_path_factory.mktemp("elsewhere")
    np.save(folder / "pixels.npy", PIXELS)
    arguments = [exported[0], folder / "pixels.npy", folder / "scores.json"]
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_BCD, *map(str, arguments)],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads((folder / "scores.json").read_text())


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_scores_raw_patches_as_the_bundle_does_where_there_is_no_bcd(name, bundle, elsewhere):
    expected = bundle.score(PIXELS)

    np.testing.assert_allclose(elsewhere[name]["logit"], expected["logit"], rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(elsewhere[name]["probability"], expected["probability"], rtol=0, atol=TOLERANCE)
    assert np.ptp(expected["probability"]) > 0.1


@pytest.mark.parametrize("name", FORMATS)
def test_beside_a_file_stands_what_it_is(name, exported):
    folder, notes = exported
    file = folder / f"bundle{RUNTIMES[name].suffix}"

    note = ExportNote.model_validate_json((folder / f"{file.name}.json").read_text())

    assert note == notes[name]
    assert (note.bundle, note.format, note.levels) == ("bcd-idc/1", name, (0.8, 0.95, 0.9999))
    assert 0 <= note.difference["probability"] <= TOLERANCE
    assert "Research use only" in note.use


def test_a_file_says_which_thresholds_are_certified(single, exported, rewrite, tmp_path):
    certified = [
        CertifiedThreshold(
            target_error=target,
            confidence=0.95,
            threshold=threshold,
            n_patients=100,
            patients_needed=61,
            tested=0.9,
            error=0.01,
            bound=0.04,
            error_pooled=0.01,
            coverage=0.5,
            patients=90,
        )
        for target, threshold in {0.05: 0.9, 0.01: None}.items()
    ]
    policy = single.record.policy.model_copy(update={"certified": tuple(certified)})
    promising = rewrite(single, policy=policy)

    assert export_bundle(promising, "promising", "keras", tmp_path / "a.keras").certified == {"5 %": 0.9}
    assert exported[1]["keras"].certified == {}


def test_a_file_says_that_neighbours_are_not_in_it(single, folder_of, rewrite, tmp_path):
    stage = Context(own=0.5, neighbours=1.0, intercept=0.0, n_patients=3)
    joined = rewrite(single, policy=single.record.policy.model_copy(update={"context": stage}))

    with_stage = export_bundle(joined, "joined", "keras", tmp_path / "a.keras")
    alone = export_bundle(folder_of(single), "alone", "keras", tmp_path / "b.keras")
    assert with_stage.context != alone.context


def test_nothing_is_left_but_the_files_and_their_notes(exported):
    names = sorted(path.name for path in exported[0].iterdir())
    files = ["bundle.bin", "bundle.h5", "bundle.keras", "bundle.onnx", "bundle.xml"]

    assert names == sorted(files + [f"{name}.json" for name in files[1:]])


def test_openvino_tells_nobody_that_it_was_used(exported):
    assert sys.modules["openvino_telemetry"] is None
    assert "openvino" in sys.modules


def test_the_preparation_inside_is_the_one_that_trains(single, folder_of):
    from bcd.networks.backend import keras

    model = build_graph(load_networks(folder_of(single)), single.record, fold_turns=False)
    prepared = keras.Model(model.input, model.get_layer("saturate").output).predict_on_batch(PIXELS)

    np.testing.assert_array_equal(prepared, prepare(PIXELS, PrepareOptions()))
    assert (prepared[:6] == 0).any()
    assert (prepared[:6] == 255).any()


def test_a_saved_file_consists_of_layers_that_keras_documents(bundle, folder_of):
    networks = load_networks(folder_of(bundle))
    saved, converted = (
        json.dumps(build_graph(networks, bundle.record, fold_turns=folded).get_config()) for folded in (False, True)
    )

    assert "bcd." not in saved
    assert "keras.src.ops" not in saved  # where operations are found may change
    assert "keras.src.ops" in converted


def test_a_bundle_that_does_not_sharpen_is_exported_so(single, folder_of):
    networks = load_networks(folder_of(single))
    record = single.record.model_copy(update={"preparation": PrepareOptions(sharpen=False)})

    model = build_graph(networks, record, fold_turns=False)

    expected = networks[0].predict_on_batch(PIXELS)
    np.testing.assert_allclose(model.predict_on_batch(PIXELS)["logit"], expected, atol=1e-6)


def test_a_file_that_scores_otherwise_is_not_kept(single, bundle, folder_of, tmp_path, monkeypatch):
    other = bundle.record.model_copy(update={"ensemble": EnsembleOptions()})
    wrong = build_graph(load_networks(folder_of(bundle))[:1], other, fold_turns=False)
    monkeypatch.setitem(RUNTIMES, "keras", replace(RUNTIMES["keras"], write=lambda _model, path: wrong.save(path)))

    with pytest.raises(BcdError, match=rf"\blogit\b.*{TOLERANCE:g}"):
        export_bundle(folder_of(single), single.name, "keras", tmp_path / "wrong.keras")

    assert not list(tmp_path.iterdir())


def test_a_score_that_is_no_number_is_not_kept(single, folder_of, tmp_path, monkeypatch):
    def answer_nothing(_path, pixels):
        return dict.fromkeys(("logit", "probability"), np.full(len(pixels), np.nan, np.float32))

    monkeypatch.setitem(RUNTIMES, "keras", replace(RUNTIMES["keras"], score=answer_nothing))

    with pytest.raises(BcdError, match=r"\bnan\b"):
        export_bundle(folder_of(single), single.name, "keras", tmp_path / "wrong.keras")


def test_missing_packages_are_named_with_the_extra_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda package: None if package == "tf2onnx" else object())

    with pytest.raises(BcdError, match=r"tf2onnx.*'bcd\[export\]'"):
        export_bundle(tmp_path, "nothing", "onnx", tmp_path / "a.onnx")
    RUNTIMES["openvino"].require("openvino")


def test_a_suffix_that_misleads_is_refused(tmp_path):
    with pytest.raises(BcdError, match=r"a\.keras\b.*\.onnx"):
        export_bundle(tmp_path, "nothing", "onnx", tmp_path / "a.keras")


def test_probes_are_tissue_and_noise_the_same_every_time():
    probes = draw_bundle_probes(20)

    assert (probes.shape, probes.dtype) == ((20, 50, 50, 3), np.uint8)
    np.testing.assert_array_equal(probes, draw_bundle_probes(20))
    np.testing.assert_array_equal(probes[:10], draw_tissue_probes(10))
    assert {0, 255} <= {int(probe.min()) for probe in probes if np.ptp(probe) == 0}
    assert draw_tissue_probes(2).mean() < 220  # not glass
