"""From an architecture to a Keras model made of Keras' own layers only, so it loads wherever Keras is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any

from bcd.networks.architecture import Architecture
from bcd.patches import PATCH_PIXELS


def build_network(architecture: Architecture, seed: int = 0) -> Any:
    """Builds the network that an architecture describes.

    Args:
        architecture: The description.
        seed: Seeds the initial weights and the dropout, without touching the process's random state.

    Returns:
        A keras.Model from prepared patches (n, 50, 50, 3), values 0 to 255, to one logit (n, 1).
    """
    from bcd.networks.backend import keras

    seeds = count(seed * 1000)
    layers = keras.layers
    patches = keras.Input((PATCH_PIXELS, PATCH_PIXELS, 3), name="patches")
    values = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(patches)
    if (stem := architecture.stem) is not None:
        values = _convolve(
            values, stem.filters, stem.kernel, stem.stride, architecture.order, name="stem", seeds=seeds
        )
    for number, stage in enumerate(architecture.stages, 1):
        for index in range(1, stage.depth + 1):
            name = f"stage{number}_{index}"
            values = _convolve(values, stage.filters, stage.kernel, 1, architecture.order, name=name, seeds=seeds)
        if stage.pool > 1:
            values = layers.MaxPooling2D(stage.pool, name=f"stage{number}_pool")(values)
        values = _drop(values, stage.dropout, name=f"stage{number}_dropout", seeds=seeds)
    logit = _head(values, architecture, seeds)
    return keras.Model(patches, logit, name="network")


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: Weights, the normalisation's statistics included.
        multiply_adds: Multiply-add operations of one patch's logit, in convolutions and dense layers.
    """

    parameters: int
    multiply_adds: int


def measure_cost(network: Any) -> Cost:
    """Counts a built network's parameters and the multiply-adds of one patch."""
    multiply_adds = 0
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            positions = prod(layer.output.shape[1:-1])  # of a dense layer: 1
            multiply_adds += positions * prod(layer.kernel.shape)
    return Cost(int(network.count_params()), multiply_adds)


def _convolve(
    values: Any, filters: int, kernel: int, stride: int, order: str, *, name: str, seeds: Iterator[int]
) -> Any:
    from bcd.networks.backend import keras

    convolution = keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)),
        name=name,
    )
    relu, norm = keras.layers.ReLU(name=f"{name}_relu"), _norm(f"{name}_norm")
    values = convolution(values)
    return norm(relu(values)) if order == "conv-relu-norm" else relu(norm(values))


def _norm(name: str) -> Any:
    from bcd.networks.backend import keras

    # Keras' own .99 is too slow for short trainings: after 100 steps a third of the start is still in it.
    return keras.layers.BatchNormalization(momentum=0.95, name=name)


def _drop(values: Any, share: float, *, name: str, seeds: Iterator[int]) -> Any:
    from bcd.networks.backend import keras

    return keras.layers.Dropout(share, seed=next(seeds), name=name)(values) if share else values


def _head(values: Any, architecture: Architecture, seeds: Iterator[int]) -> Any:
    from bcd.networks.backend import keras

    head, layers = architecture.head, keras.layers
    if head.reduce == "flatten":
        values = layers.Flatten(name="flatten")(values)
    else:
        values = layers.GlobalAveragePooling2D(name="average")(values)
    if head.dense:
        start = keras.initializers.HeNormal(seed=next(seeds))
        values = layers.Dense(head.dense, kernel_initializer=start, name="dense")(values)
        relu, norm = layers.ReLU(name="dense_relu"), _norm("dense_norm")
        values = norm(relu(values)) if architecture.order == "conv-relu-norm" else relu(norm(values))
    values = _drop(values, head.dropout, name="head_dropout", seeds=seeds)
    start = keras.initializers.GlorotUniform(seed=next(seeds))
    return layers.Dense(1, kernel_initializer=start, dtype="float32", name="logit")(values)
