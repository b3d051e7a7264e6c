"""The cost of networks: counted as by hand and as TensorFlow counts, and timed on this device."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bcd.errors import BcdError
from bcd.networks import cost
from bcd.networks.architecture import PRESETS, Architecture, Head, Stage, Stem
from bcd.networks.backend import keras
from bcd.networks.build import build_network
from bcd.networks.cost import (
    Latency,
    measure_network_cost,
    measure_network_latency,
    measure_network_layers,
    name_device,
)

TINY = Architecture(stem=Stem(filters=4), stages=[Stage(filters=4, depth=1, dropout=0.5)], head=Head(dropout=0.5))


def test_cost_counts_weights_and_multiply_adds() -> None:
    counted = measure_network_cost(build_network(TINY))
    assert counted.multiply_adds == 25 * 25 * (25 * 3 * 4) + 25 * 25 * (9 * 4 * 4) + 4
    assert counted.flops == 2 * counted.multiply_adds
    assert counted.parameters == (25 * 3 * 4 + 4 + 16) + (9 * 4 * 4 + 4 + 16) + 5


def test_layers_are_told_one_by_one() -> None:
    layers = {layer.name: layer for layer in measure_network_layers(build_network(TINY))}
    assert layers["stem"] == cost.LayerCost("stem", "Conv2D", (25, 25, 4), 304, 25 * 25 * 300)
    assert layers["stage1_pool"] == cost.LayerCost("stage1_pool", "MaxPooling2D", (12, 12, 4), 0, 0)
    assert layers["logit"] == cost.LayerCost("logit", "Dense", (1,), 5, 4)


def test_the_presets_cost_what_the_documentation_says() -> None:
    told = {name: measure_network_cost(build_network(preset)) for name, preset in PRESETS.items()}
    assert told == {
        "dissertation": cost.Cost(1_664_641, 160_104_064),
        "compact": cost.Cost(299_841, 28_945_376),
    }


def stems() -> st.SearchStrategy[Stem | None]:
    widths, edges = st.integers(1, 9), st.integers(1, 10)
    plain = st.builds(Stem, kind=st.just("plain"), filters=widths, kernel=edges, stride=st.just(1))
    strided = st.builds(Stem, filters=widths, kernel=edges, stride=edges)
    patchify = st.builds(
        lambda filters, edge: Stem(kind="patchify", filters=filters, kernel=edge, stride=edge), widths, edges
    )
    return st.none() | plain | strided | patchify


def stages() -> st.SearchStrategy[Stage]:
    shared = {
        "filters": st.integers(1, 9),
        "kernel": st.integers(1, 4),
        "pooling": st.sampled_from(["max", "average"]),
        "pool": st.integers(1, 5),
        "dropout": st.sampled_from([0.0, 0.1]),
    }
    plain = st.builds(Stage, depth=st.integers(1, 3), **shared)
    return plain | st.builds(Stage, depth=st.sampled_from([2, 4]), residual=st.just(True), **shared)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    heads = st.builds(
        Head,
        reduce=st.sampled_from(["average", "max", "flatten"]),
        dense=st.integers(0, 9),
        dropout=st.sampled_from([0.0, 0.5]),
    )
    parts: dict[str, Any] = {
        "stem": draw(stems()),
        "stages": draw(st.lists(stages(), min_size=1, max_size=3)),
        "head": draw(heads),
    }
    parts["order"] = draw(st.sampled_from(["conv-norm-relu", "conv-relu-norm", "norm-relu-conv"]))
    parts["normalisation"] = draw(st.sampled_from(["batch", "group", "none"]))
    try:
        return Architecture(**parts)
    except BcdError:  # leaves nothing of a patch
        assume(False)
        raise


def count_as_tensorflow(network) -> int:
    """Counts the operations of the convolutions and products in TensorFlow's graph, by TensorFlow's own figures."""
    import tensorflow as tf
    from tensorflow.python.framework import ops

    patch = tf.TensorSpec((1, 50, 50, 3))
    graph = tf.function(lambda values: network(values, training=False)).get_concrete_function(patch).graph
    heavy = [node for node in graph.get_operations() if node.type in {"Conv2D", "MatMul"}]
    return sum(ops.get_stats_for_node_def(graph, node.node_def, "flops").value for node in heavy)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the operations are counted by TensorFlow")
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(architectures())
def test_any_architecture_that_is_valid_builds_predicts_and_costs_what_keras_and_tensorflow_count(
    architecture: Architecture,
) -> None:
    network = build_network(architecture)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3)).astype(np.float32)
    logits = np.asarray(network(pixels))
    assert logits.shape == (2, 1)
    assert np.isfinite(logits).all()
    counted = measure_network_cost(network)
    assert counted.parameters == network.count_params()
    with warnings.catch_warnings(action="ignore"):
        assert counted.flops == count_as_tensorflow(network)
    if architecture.stem is not None:
        assert network.get_layer("stem").output.shape[1] == architecture.stem.edge


class Clock:
    """A network that takes a given number of seconds for each batch, by the clock that it is."""

    def __init__(self, seconds: list[float]) -> None:
        self.now, self.left = 0.0, list(seconds)
        self.batches: list[Any] = []

    def predict_on_batch(self, pixels: np.ndarray) -> None:
        self.batches.append(pixels)
        self.now += self.left.pop(0)

    def perf_counter(self) -> float:
        return self.now


def test_latency_is_the_median_without_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([30.0, 20.0, 0.3, 0.1, 0.2, 9.0, 0.2])
    monkeypatch.setattr(cost, "time", clock)
    latency = measure_network_latency(clock, 8)
    assert latency == replace(latency, batch_size=8, milliseconds=pytest.approx(200.0))  # type: ignore[arg-type]
    assert latency.patches_per_second == pytest.approx(40.0)
    assert {batch.shape for batch in clock.batches} == {(8, 50, 50, 3)}


def test_quick_networks_are_measured_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock([0.01] * 52)
    monkeypatch.setattr(cost, "time", clock)
    measure_network_latency(clock, 1)
    assert not clock.left


def test_a_real_network_takes_time_on_a_device_that_has_a_name() -> None:
    latency = measure_network_latency(build_network(TINY), 4)
    assert 0 < latency.milliseconds < 10_000
    assert Latency(4, 2.0).patches_per_second == 2000
    assert name_device().startswith(("cpu, ", "gpu:", "tpu:"))
