"""The engine that scores with a bundle: the numbers of Keras without Keras, the same bits every time."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from registered import make_record

from bcd.bundle.engine import BATCH, GRAPH, WEIGHTS, Engine, describe_engine, digest_graph
from bcd.bundle.folder import load_folder
from bcd.bundle.probes import draw_bundle_probes
from bcd.bundle.write import write_bundle, write_graph
from bcd.errors import BcdError, DamagedError
from bcd.networks.architecture import PRESETS
from bcd.networks.build import build_network
from bcd.networks.keras_files import load_network
from bcd.training.options import EnsembleOptions
from bcd.training.predict import predict_logits, turn_patches

PIXELS = np.concatenate(
    [draw_bundle_probes(14), np.random.default_rng(5).integers(0, 256, (7, 50, 50, 3), dtype=np.uint8)]
)

WITHOUT_KERAS = """
import sys
from pathlib import Path
import numpy as np
from bcd.bundle.scorer import load_scorer
scores = load_scorer(Path(sys.argv[1])).score(np.load(sys.argv[2]))
scores.to_parquet(sys.argv[3])
heavy = {"tensorflow", "keras", "mlflow", "prefect", "openvino_telemetry"}
assert not {name for name in heavy if sys.modules.get(name)}, heavy & set(sys.modules)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle of two `compact` networks with eight turns, beside its parts."""
    folder = tmp_path_factory.mktemp("engine")
    networks = [folder / f"{seed}.keras" for seed in (1, 2)]
    for seed, path in enumerate(networks, 1):
        build_network(PRESETS["compact"], seed).save(path)
    write_graph(networks, folder / "graph")
    record = make_record(
        engine=describe_engine(folder / "graph"), ensemble=EnsembleOptions(members=2, turns=8), reference=None
    )
    write_bundle(folder / "bundle", networks=networks, graph=folder / "graph", record=record)
    return folder


def test_the_same_networks_make_the_same_graph(folder, tmp_path):
    write_graph([folder / f"{seed}.keras" for seed in (1, 2)], tmp_path / "again")

    assert digest_graph(tmp_path / "again") == digest_graph(folder / "graph")


def test_networks_that_another_backend_trained_make_the_same_graph(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")

    write_graph([folder / f"{seed}.keras" for seed in (1, 2)], tmp_path / "again")

    assert digest_graph(tmp_path / "again") == digest_graph(folder / "graph")


@pytest.mark.parametrize("turns", [1, 8])
def test_the_engine_predicts_as_keras_does(folder, turns):
    networks = [load_network(folder / f"{seed}.keras") for seed in (1, 2)]

    expected = predict_logits(networks, PIXELS, turns=turns)
    found = Engine(folder / "graph").predict(PIXELS, turns=turns)

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected) > 0.01


@pytest.mark.parametrize("turns", [1, 8])
def test_what_each_network_and_turn_says_is_answered_too(folder, turns):
    networks = [load_network(folder / f"{seed}.keras") for seed in (1, 2)]

    found = Engine(folder / "graph").answer(PIXELS, turns=turns)

    each = [predict_logits([network], turned) for turned in turn_patches(PIXELS, turns) for network in networks]
    np.testing.assert_allclose(found.each, each, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.each.mean(axis=0), found.logits, rtol=0, atol=1e-5)
    assert found.each.std(axis=0).max() > 0.01


def test_a_patch_scores_the_same_bit_for_bit_in_any_company_on_any_number_of_cores(folder):
    expected = Engine(folder / "graph", cores=1).predict(PIXELS)

    for cores in (1, 2, 3):
        engine = Engine(folder / "graph", cores=cores)
        for chunk in (1, BATCH - 1, len(PIXELS)):
            parts = [engine.predict(PIXELS[start : start + chunk]) for start in range(0, len(PIXELS), chunk)]
            np.testing.assert_array_equal(np.concatenate(parts), expected)
        np.testing.assert_array_equal(engine.predict(PIXELS[::-1])[::-1], expected)


def test_no_patch_has_no_logit(folder):
    assert Engine(folder / "graph").predict(PIXELS[:0], turns=8).shape == (0,)


def test_progress_counts_every_patch_once(folder):
    advanced = []

    Engine(folder / "graph").predict(PIXELS, turns=8, advance=advanced.append)

    assert sum(advanced) == len(PIXELS)


def test_a_bundle_in_a_folder_scores_without_keras_mlflow_or_a_home(folder, tmp_path):
    np.save(tmp_path / "pixels.npy", PIXELS)
    arguments = [folder / "bundle", tmp_path / "pixels.npy", tmp_path / "scores.parquet"]

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, *map(str, arguments)],
        env={"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path), "BCD_HOME": str(tmp_path / "none")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scores.parquet").exists()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_a_graph_that_was_changed_is_refused(folder, tmp_path, name):
    damaged = tmp_path / "bundle"
    damaged.mkdir()
    for path in (folder / "bundle").rglob("*"):
        copy = damaged / path.relative_to(folder / "bundle")
        copy.mkdir() if path.is_dir() else copy.write_bytes(path.read_bytes())
    file = damaged / "graph" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

    with pytest.raises(DamagedError, match=re.escape(str(damaged / "graph"))):
        load_folder(damaged)


def test_a_bundle_whose_engine_answers_otherwise_than_its_networks_is_not_written(folder, tmp_path):
    build_network(PRESETS["compact"], 9).save(tmp_path / "other.keras")
    record = make_record(
        engine=describe_engine(folder / "graph"), ensemble=EnsembleOptions(members=2, turns=8), reference=None
    )
    networks = [folder / "1.keras", tmp_path / "other.keras"]

    with pytest.raises(BcdError, match=r"0\.0001"):
        write_bundle(tmp_path / "bundle", networks=networks, graph=folder / "graph", record=record)

    assert [path.name for path in tmp_path.iterdir()] == ["other.keras"]


def test_a_bundle_without_all_its_networks_is_not_written(folder, tmp_path):
    record = make_record(engine=describe_engine(folder / "graph"), ensemble=EnsembleOptions(members=2))

    with pytest.raises(BcdError, match=r"\b1 network.*\b2\b"):
        write_bundle(tmp_path / "bundle", networks=[folder / "1.keras"], graph=folder / "graph", record=record)
