"""Built networks: every layer of both presets, their cost, their seeds, and how they travel."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcd.networks.architecture import PRESETS, Architecture, Head, Stage, Stem
from bcd.networks.backend import keras
from bcd.networks.build import build_network, count_normalisation_groups

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
    expected: list[tuple[str, tuple[int, ...], int]] = [("InputLayer", (50, 50, 3), 0), ("Rescaling", (50, 50, 3), 0)]
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
    expected: list[tuple[str, tuple[int, ...], int]] = [("InputLayer", (50, 50, 3), 0), ("Rescaling", (50, 50, 3), 0)]
    stem = (25, 25, 32)
    expected += [("Conv2D", stem, 25 * 3 * 32 + 32), ("BatchNormalization", stem, 128), ("ReLU", stem, 0)]
    expected += block(2, 32, 32, 25, order)
    expected += [*block(2, 64, 32, 12, order), ("Dropout", (6, 6, 64), 0)]
    expected += [*block(2, 128, 64, 6, order), ("Dropout", (3, 3, 128), 0)]
    expected += [("GlobalAveragePooling2D", (128,), 0), ("Dropout", (128,), 0), ("Dense", (1,), 129)]
    assert layers_of("compact") == expected
    assert sum(weights for _, _, weights in expected) == 299_841


def edges(network) -> set[tuple[str, str]]:
    """Which layer's values go into which other layer."""

    def sources(layer) -> list:
        return layer.input if isinstance(layer.input, list) else [layer.input]

    return {
        (values._keras_history.operation.name, layer.name)
        for layer in network.layers[1:]
        for values in sources(layer)
    }


def paths(*told: str) -> set[tuple[str, str]]:
    """The edges of paths through a network, each told as its layers from first to last."""
    return {edge for path in told for edge in pairwise(path.split())}


def shapes(network) -> dict[str, tuple]:
    """What each layer is: kind, output shape, weights."""
    return {
        layer.name: (type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in network.layers
    }


def test_a_residual_stage_adds_before_its_last_activation_and_widens_by_a_normalised_convolution() -> None:
    stem = Stem(kind="patchify", filters=4, kernel=4, stride=4)
    stages = [Stage(filters=4, residual=True), Stage(filters=8, depth=4, residual=True, pooling="average", pool=3)]
    network = build_network(Architecture(stem=stem, stages=stages, head=Head(reduce="max")))
    assert edges(network) == paths(
        "patches rescale stem stem_norm stem_relu",
        "stem_relu stage1_1 stage1_1_norm stage1_1_relu stage1_2 stage1_2_norm stage1_2_add stage1_2_relu",
        "stem_relu stage1_2_add",
        "stage1_2_relu stage1_pool",
        "stage1_pool stage2_1 stage2_1_norm stage2_1_relu stage2_2 stage2_2_norm stage2_2_add stage2_2_relu",
        "stage1_pool stage2_2_shortcut stage2_2_shortcut_norm stage2_2_add",
        "stage2_2_relu stage2_3 stage2_3_norm stage2_3_relu stage2_4 stage2_4_norm stage2_4_add stage2_4_relu",
        "stage2_2_relu stage2_4_add",
        "stage2_4_relu stage2_pool max logit",
    )
    seen = shapes(network)
    assert seen["stem"] == ("Conv2D", (12, 12, 4), 16 * 3 * 4 + 4)  # the last two pixels are no tile
    assert seen["stage1_pool"] == ("MaxPooling2D", (6, 6, 4), 0)
    assert seen["stage2_2_shortcut"] == ("Conv2D", (6, 6, 8), 4 * 8 + 8)
    assert seen["stage2_2_shortcut_norm"] == ("BatchNormalization", (6, 6, 8), 32)
    assert seen["stage2_pool"] == ("AveragePooling2D", (2, 2, 8), 0)
    assert seen["max"] == ("GlobalMaxPooling2D", (8,), 0)


def test_pre_activation_leads_shortcuts_through_untouched_and_closes_before_the_head() -> None:
    stages = [Stage(filters=6, residual=True, pool=1), Stage(filters=8, residual=True), Stage(filters=8, depth=1)]
    architecture = Architecture(
        stem=Stem(kind="plain", filters=6, kernel=3, stride=1),
        stages=stages,
        order="norm-relu-conv",
        normalisation="group",
        head=Head(dense=5),
    )
    network = build_network(architecture)
    assert edges(network) == paths(
        "patches rescale stem",
        "stem stage1_1_norm stage1_1_relu stage1_1 stage1_2_norm stage1_2_relu stage1_2 stage1_2_add",
        "stem stage1_2_add",
        "stage1_2_add stage2_1_norm stage2_1_relu stage2_1 stage2_2_norm stage2_2_relu stage2_2 stage2_2_add",
        "stage2_1_relu stage2_2_shortcut stage2_2_add",
        "stage2_2_add stage2_pool stage3_1_norm stage3_1_relu stage3_1 stage3_pool stages_norm stages_relu average",
        "average dense dense_norm dense_relu logit",
    )
    seen = shapes(network)
    assert seen["stem"] == ("Conv2D", (50, 50, 6), 27 * 6 + 6)
    assert seen["stage2_2_shortcut"] == ("Conv2D", (50, 50, 8), 6 * 8 + 8)
    assert seen["stages_norm"] == ("GroupNormalization", (12, 12, 8), 16)
    assert seen["dense_norm"] == ("GroupNormalization", (5,), 10)


def test_without_a_stem_pre_activation_convolves_the_pixels_themselves() -> None:
    for residual in (False, True):
        stages = [Stage(filters=4, residual=residual)]
        wires = edges(build_network(Architecture(stages=stages, order="norm-relu-conv")))
        assert wires >= paths("patches rescale stage1_1 stage1_2_norm stage1_2_relu stage1_2")


def test_conv_relu_norm_adds_behind_the_last_normalisation() -> None:
    architecture = Architecture(stages=[Stage(filters=4, residual=True)], order="conv-relu-norm")
    assert edges(build_network(architecture)) == paths(
        "patches rescale stage1_1 stage1_1_relu stage1_1_norm stage1_2 stage1_2_relu stage1_2_norm stage1_2_add",
        "rescale stage1_2_shortcut stage1_2_shortcut_norm stage1_2_add",
        "stage1_2_add stage1_pool average logit",
    )


@pytest.mark.parametrize("order", ["conv-norm-relu", "conv-relu-norm", "norm-relu-conv"])
def test_without_normalisation_there_is_none_and_nothing_else_is_missing(order: Any) -> None:
    architecture = Architecture(stages=[Stage(filters=4), Stage(filters=8, residual=True)], order=order)
    bare = build_network(architecture.model_copy(update={"normalisation": "none"}))
    assert shapes(bare).keys() == {name for name in shapes(build_network(architecture)) if not name.endswith("_norm")}


def test_a_residual_block_whose_convolutions_are_zero_changes_nothing() -> None:
    for order in ("conv-norm-relu", "norm-relu-conv"):
        stages = [Stage(filters=6, depth=4, residual=True, pool=1)]
        network = build_network(Architecture(stem=Stem(filters=6), stages=stages, order=order))
        for layer in network.layers:
            if layer.name in {"stage1_2", "stage1_4"}:
                layer.set_weights([np.zeros_like(values) for values in layer.get_weights()])
        before, after = ("stem", "stage1_4_add") if order == "norm-relu-conv" else ("stem_relu", "stage1_4_relu")
        inside = keras.Model(network.inputs, [network.get_layer(name).output for name in (before, after)])
        np.testing.assert_array_equal(*inside.predict_on_batch(patches()))


def test_groups_hold_at_least_four_channels_each() -> None:
    # A group of one channel is one of zeros wherever it has a single value: its layer would say nothing.
    told = {1: 1, 4: 1, 7: 1, 8: 2, 16: 4, 24: 6, 32: 8, 100: 5, 512: 8}
    assert {width: count_normalisation_groups(width) for width in told} == told


@pytest.mark.parametrize("order", ["conv-norm-relu", "conv-relu-norm", "norm-relu-conv"])
@pytest.mark.parametrize("normalisation", ["batch", "group", "none"])
def test_every_convolution_learns_from_the_first_step(order: Any, normalisation: Any) -> None:
    architecture = Architecture(
        stem=Stem(kind="patchify", filters=8, kernel=5, stride=5),
        stages=[Stage(filters=8, residual=True, pooling="average"), Stage(filters=12, residual=True, pool=5)],
        order=order,
        normalisation=normalisation,
        head=Head(dense=8),
    )
    network = build_network(architecture, seed=1)
    assert np.isfinite(network.predict_on_batch(patches(16))).all()
    kernels = {layer.name: np.asarray(layer.kernel) for layer in network.layers if hasattr(layer, "kernel")}
    network.compile(keras.optimizers.SGD(0.1), keras.losses.BinaryCrossentropy(from_logits=True), run_eagerly=True)
    assert np.isfinite(network.train_on_batch(patches(16), np.tile([[0], [1]], (8, 1))))
    unchanged = [
        name for name, kernel in kernels.items() if np.allclose(kernel, network.get_layer(name).kernel, atol=1e-7)
    ]
    assert not unchanged


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


def test_saved_networks_need_keras_only_and_give_the_same_logits_in_another_process(tmp_path: Path) -> None:
    residual = Architecture(
        stem=Stem(kind="patchify", kernel=5, stride=5),
        stages=[Stage(filters=16, residual=True, pooling="average")],
        order="norm-relu-conv",
        normalisation="group",
        head=Head(reduce="max"),
    )
    networks = [build_network(architecture, seed=5) for architecture in (PRESETS["compact"], residual)]
    for number, network in enumerate(networks):
        network.save(tmp_path / f"{number}.keras")
    np.save(tmp_path / "patches.npy", patches())
    script = (
        "import sys, keras, numpy as np\n"
        "networks = [keras.saving.load_model(f'{number}.keras') for number in (0, 1)]\n"
        "logits = [network.predict_on_batch(np.load('patches.npy')) for network in networks]\n"
        "np.save('logits.npy', np.stack(logits))\n"
        "assert 'bcd' not in sys.modules\n"
    )
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    here = np.stack([network.predict_on_batch(patches()) for network in networks])
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), here, rtol=1e-5, atol=1e-6)
