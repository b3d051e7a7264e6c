"""A bundle as one Keras model, from raw patches to the calibrated probability, of Keras' own layers only.

Preparation, turns, ensemble and calibrator are inside, so nobody can feed it unprepared patches unknowingly, and it
loads wherever Keras does. It takes Keras at import, so import this module inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, product
from typing import TYPE_CHECKING

import numpy as np

from bcd.bundle.export.runtimes import EXPORTED
from bcd.bundle.record import BundleRecord
from bcd.networks.backend import keras
from bcd.patches import PATCH_PIXELS
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import SHARPEN
from bcd.training.options import Turns

if TYPE_CHECKING:
    from keras import KerasTensor, Layer, Model

layers = keras.layers

_SHAPE = (PATCH_PIXELS, PATCH_PIXELS, 3)


def build_graph(networks: Sequence[Model], record: BundleRecord, *, fold_turns: bool) -> Model:
    """Builds the model that scores as the bundle does.

    Args:
        networks: The bundle's networks.
        record: The bundle's record.
        fold_turns: Whether all turns go through a network as one batch. A converter then sees each network once and
            not once a turn, but the model holds Keras operations that are no layers, which a file should not.

    Returns:
        A keras.Model from raw patches `patches` (n, 50, 50, 3) uint8 to a dict of `logit` and `probability`, each
        (n, 1) float32.
    """
    raw = keras.Input(_SHAPE, dtype="uint8", name="patches")
    turns = _add_turns(_add_sharpening(raw, record.preparation), record.ensemble.turns)
    answer = join_networks(networks)
    if fold_turns and len(turns) > 1:
        each = answer(layers.Concatenate(axis=0, name="turns")(turns))
        logit = keras.ops.reshape(keras.ops.mean(keras.ops.reshape(each, (len(turns), -1)), axis=0), (-1, 1))
    else:
        logit = _add_mean([answer(turn) for turn in turns], "turns")
    logit = layers.Rescaling(1.0, name="logit")(logit)
    calibrator = record.policy.calibrator
    calibrated = layers.Rescaling(calibrator.slope, calibrator.intercept, name="calibrate")(logit)
    probability = layers.Activation("sigmoid", name="probability")(calibrated)
    return keras.Model(raw, {"logit": logit, "probability": probability}, name=EXPORTED)


def _add_sharpening(raw: KerasTensor, options: PrepareOptions) -> KerasTensor:
    """Sharpens as `prepare` does: OpenCV mirrors the border without its last pixel, and saturates to 0 to 255."""
    values = layers.Rescaling(1.0, name="float")(raw)
    if not options.sharpen:
        return values
    for axis, name in ((1, "rows"), (2, "columns")):
        values = _mirror_border(values, axis, name)
    kernel = layers.DepthwiseConv2D(3, use_bias=False, name="sharpen")
    sharpened = kernel(values)
    kernel.set_weights([np.repeat(SHARPEN[:, :, None, None], 3, axis=2)])
    return layers.ReLU(max_value=255, name="saturate")(sharpened)


def _mirror_border(values: KerasTensor, axis: int, name: str) -> KerasTensor:
    def crop(before: int, after: int, side: str) -> KerasTensor:
        edges = ((before, after), (0, 0)) if axis == 1 else ((0, 0), (before, after))
        return layers.Cropping2D(edges, name=f"{side}_{name}")(values)

    last = PATCH_PIXELS - 2
    return layers.Concatenate(axis=axis, name=name)([crop(1, last, "first"), values, crop(last, 1, "last")])


def _add_turns(values: KerasTensor, turns: Turns) -> list[KerasTensor]:
    """Turns patches as `turn_patches` does; a flip is a product with a permutation, which is exact."""
    transposed = layers.Permute((2, 1, 3), name="transposed")
    upside_down, mirrored = _add_flip("bhwc,hv->bvwc", "upside_down"), _add_flip("bhwc,wv->bhvc", "mirrored")
    turned = []
    for choices in islice(product((False, True), repeat=3), turns):
        turn = values
        for layer in (
            layer for layer, chosen in zip((transposed, upside_down, mirrored), choices, strict=True) if chosen
        ):
            turn = layer(turn)
        turned.append(turn)
    return turned


def _add_flip(equation: str, name: str) -> Layer:
    layer = layers.EinsumDense(equation, output_shape=_SHAPE, name=name)
    layer.build((None, *_SHAPE))
    layer.set_weights([np.eye(PATCH_PIXELS, dtype=np.float32)[::-1]])
    return layer


def join_networks(networks: Sequence[Model]) -> Model:
    """Joins networks to one from prepared patches (n, 50, 50, 3) to the mean of their logits (n, 1)."""
    prepared = keras.Input(_SHAPE, name="prepared")
    members = [_rename_network(network, f"network_{number}") for number, network in enumerate(networks, 1)]
    return keras.Model(prepared, _add_mean([member(prepared) for member in members], "members"), name="networks")


def _rename_network(network: Model, name: str) -> Model:
    """Copies a network under names of its own: the members share theirs, and HDF5 finds weights by name."""

    def rename(layer: Layer) -> Layer:
        settings = layer.get_config()
        return layer.__class__.from_config(settings | {"name": f"{name}_{settings['name']}"})

    copy = keras.models.clone_model(network, clone_function=rename)
    copy.name = name
    copy.set_weights(network.get_weights())
    return copy


def _add_mean(values: list[KerasTensor], name: str) -> KerasTensor:
    return layers.Average(name=f"mean_of_{name}")(values) if len(values) > 1 else values[0]


@contextmanager
def export_on_processor() -> Iterator[None]:
    """Computes on the processor in the block: a GPU rounds convolutions to ten bits."""
    with keras.device("cpu:0"):
        yield
