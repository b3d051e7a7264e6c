"""Built networks: every layer of both presets, their cost, their seeds, and how they travel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bcd.networks.architecture import PRESETS, Architecture, Head, Stage, Stem
from bcd.networks.build import build_network, measure_cost

TINY = Architecture(stem=Stem(filters=4), stages=[Stage(filters=4, depth=1, dropout=0.5)], head=Head(dropout=0.5))


def patches(n: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 50, 50, 3), dtype=np.uint8)


def block(depth: int, filters: int, into: int, edge: int, order: str) -> list[tuple]:
    """The layers of one stage as (kind, output shape, weights)."""
    layers: list[tuple] = []
    for index in range(depth):
        shape = (edge, edge, filters)
        layers.append(("Conv2D", shape, 9 * (into if index == 0 else filters) * filters + filters))
        after = [("ReLU", shape, 0), ("BatchNormalization", shape, 4 * filters)]
        layers += after if order == "conv-relu-norm" else after[::-1]
    return [*layers, ("MaxPooling2D", (edge // 2, edge // 2, filters), 0)]


def layers_of(name: str) -> list[tuple]:
    network = build_network(PRESETS[name])
    return [(type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params()) for layer in network.layers]


def test_dissertation_is_the_founding_network_layer_by_layer() -> None:
    order = "conv-relu-norm"
    expected = [("InputLayer", (50, 50, 3), 0), ("Rescaling", (50, 50, 3), 0)]
    expected += [*block(3, 32, 3, 50, order), ("Dropout", (25, 25, 32), 0)]
    expected += [*block(3, 64, 32, 25, order), ("Dropout", (12, 12, 64), 0)]
    expected += [*block(3, 128, 64, 12, order), ("Dropout", (6, 6, 128), 0)]
    expected += [("Flatten", (4608,), 0), ("Dense", (256,), 4608 * 256 + 256), ("ReLU", (256,), 0)]
    expected += [("BatchNormalization", (256,), 1024), ("Dropout", (256,), 0), ("Dense", (1,), 257)]
    assert layers_of("dissertation") == expected


def test_the_founding_network_drops_what_the_founding_network_dropped() -> None:
    network = build_network(PRESETS["dissertation"])
    assert [layer.rate for layer in network.layers if "dropout" in layer.name] == [0.25, 0.3, 0.3, 0.3]


def test_compact_strides_first_and_has_300_thousand_parameters() -> None:
    order = "conv-norm-relu"
    expected = [("InputLayer", (50, 50, 3), 0), ("Rescaling", (50, 50, 3), 0)]
    stem = (25, 25, 32)
    expected += [("Conv2D", stem, 25 * 3 * 32 + 32), ("BatchNormalization", stem, 128), ("ReLU", stem, 0)]
    expected += block(2, 32, 32, 25, order)
    expected += [*block(2, 64, 32, 12, order), ("Dropout", (6, 6, 64), 0)]
    expected += [*block(2, 128, 64, 6, order), ("Dropout", (3, 3, 128), 0)]
    expected += [("GlobalAveragePooling2D", (128,), 0), ("Dropout", (128,), 0), ("Dense", (1,), 129)]
    assert layers_of("compact") == expected
    assert sum(weights for _, _, weights in expected) == 299_841


def test_cost_counts_weights_and_multiply_adds() -> None:
    cost = measure_cost(build_network(TINY))
    assert cost.multiply_adds == 25 * 25 * (25 * 3 * 4) + 25 * 25 * (9 * 4 * 4) + 4
    assert cost.parameters == (25 * 3 * 4 + 4 + 16) + (9 * 4 * 4 + 4 + 16) + 5


def test_the_seed_decides_the_initial_weights_and_nothing_else_does() -> None:
    np.random.seed(3)  # noqa: NPY002 - the process's own state must not matter
    first, again, other = (build_network(TINY, seed).get_weights() for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0].ravel()[:9], first[4].ravel()[:9])  # layers differ from each other


def test_dropout_is_off_when_predicting() -> None:
    network = build_network(TINY)
    logits = [network.predict_on_batch(patches()) for _ in range(2)]
    assert logits[0].shape == (4, 1)
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize("preset", ["compact"])
def test_a_saved_network_needs_keras_only_and_gives_the_same_logits_in_another_process(
    preset: str, tmp_path: Path
) -> None:
    network = build_network(PRESETS[preset], seed=5)
    network.save(tmp_path / "network.keras")
    np.save(tmp_path / "patches.npy", patches())
    script = (
        "import sys, keras, numpy as np\n"
        "network = keras.saving.load_model('network.keras')\n"
        "np.save('logits.npy', network.predict_on_batch(np.load('patches.npy')))\n"
        "assert 'bcd' not in sys.modules\n"
    )
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    here = network.predict_on_batch(patches())
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), here, rtol=1e-5, atol=1e-6)
