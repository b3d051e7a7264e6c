"""Networks that somebody else made: what goes in and what comes out is found, never taken for granted.

Examples:
        foreign = understand_network(load_network(path), path.name)
        predict_logits(foreign.network, pixels)  # one logit a patch, whatever the file ends in
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from bcd.errors import BcdError
from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    from keras import Layer, Model, Operation

PixelRange = Literal["0..255", "0..1", "-1..1"]
"""Which values of pixels a network expects."""

PIXEL_RANGES: tuple[PixelRange, ...] = get_args(PixelRange)

_SCALES: dict[PixelRange, tuple[float, float]] = {
    "0..255": (1.0, 0.0),
    "0..1": (1 / 255, 0.0),
    "-1..1": (1 / 127.5, -1.0),
}
_SHAPE = (PATCH_PIXELS, PATCH_PIXELS, 3)
_PREDICTIONS = "Evaluate its predictions with `--predictions`, or save it so that it ends in one logit."
_SAME_VALUES = ("Flatten", "Reshape", "Dropout", "SpatialDropout2D", "Identity", "InputLayer")
_SAME_RANGE = ("Cropping2D", "ZeroPadding2D", "Resizing", "UpSampling2D", "Permute", "GaussianNoise", *_SAME_VALUES)
_LARGEST_INPUT = 8.0  # no network is fed values beyond: what a Rescaling makes of its true range stays below
_PROBES, _NEAR = 8, 1e-4


@dataclass(frozen=True)
class ForeignNetwork:
    """A network that was understood.

    Attributes:
        network: A keras.Model from pixels (n, 50, 50, 3), values 0 to 255, to one logit (n, 1).
        notes: What was found and converted, in sentences.
    """

    network: Model
    notes: tuple[str, ...]


def understand_network(network: Model, name: str, pixels: PixelRange | None = None) -> ForeignNetwork:
    """Finds what a network takes and gives, and makes it one from pixels 0 to 255 to one logit.

    Args:
        network: What `load_network` returned.
        name: What to call it in messages.
        pixels: The values that it expects, used where the network itself does not show them.

    Raises:
        BcdError: It takes no patches, it does not say whether they are IDC, or which values it expects is not known.
    """
    outputs = _require_shapes(network, name)
    last = _find_last(network)
    activation = _activation_of(last)
    _require_binary(name, outputs, activation, type(last).__name__)
    seen = _see_range(network)
    used = seen or pixels
    if used is None:
        raise BcdError(
            f"{name} does not show which pixel values it expects: no Rescaling, Normalization or BatchNormalization "
            "stands before its first layer with weights.",
            f"Say it with --pixels: {', '.join(PIXEL_RANGES)}.",
        )
    logits = network if activation == "linear" else _without_activation(network, last)
    ready = _from_patches(logits, used, outputs)
    _require_agreement(ready, network, used, activation, name)
    how = "found in the file" if seen else "as --pixels says"
    return ForeignNetwork(ready, (f"It expects pixels {used} ({how}).", _tell_output(outputs, activation)))


def _require_shapes(network: Model, name: str) -> int:
    """Returns how many outputs a network of patches has."""
    inputs, outputs = (getattr(network, side, None) or [] for side in ("inputs", "outputs"))
    takes, gives = ([tuple(tensor.shape) for tensor in side] for side in (inputs, outputs))
    if takes != [(None, *_SHAPE)]:
        taken = " and ".join(map(_tell_shape, takes)) or "nothing that the file says"
        raise BcdError(
            f"{name} takes {taken}, not RGB patches of {PATCH_PIXELS}x{PATCH_PIXELS}x3.",
            "Give a network of such patches, or evaluate its predictions with `--predictions`.",
        )
    if len(gives) != 1 or len(gives[0]) != 2 or gives[0][1] is None:
        given = " and ".join(map(_tell_shape, gives))
        raise BcdError(f"{name} gives {given} for a patch, not one logit.", _PREDICTIONS)
    return int(gives[0][1])


def _tell_shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if edge is None else str(edge) for edge in shape[1:]) or "a value a batch"


def _require_binary(name: str, outputs: int, activation: str, layer: str) -> None:
    if outputs > 2:
        raise BcdError(
            f"{name} has {outputs} outputs: it tells {outputs} classes apart, not IDC from none.", _PREDICTIONS
        )
    understood = {1: ("linear", "sigmoid"), 2: ("linear", "softmax")}[outputs]
    if activation not in understood:
        many = "one output" if outputs == 1 else "two outputs"
        raise BcdError(
            f"{name} ends in {many} of {layer} ({activation}), from which no logit follows; understood are "
            f"{' and '.join(understood)}.",
            _PREDICTIONS,
        )


def _tell_output(outputs: int, activation: str) -> str:
    if outputs == 2:
        return "Its logit is the second of its two outputs, taken for IDC, less the first, before any softmax."
    if activation == "sigmoid":
        return "It ends in a sigmoid: its logit is the value before it."
    return "It ends in a linear unit, which is taken for the logit."


def _list_operations(network: Model) -> Iterator[Operation]:
    """Yields layers and operations from the input to the output, those of networks in it one by one."""
    for operation in network.layers if type(network).__name__ == "Sequential" else network.operations:
        if hasattr(operation, "layers") and hasattr(operation, "inputs"):
            yield from _list_operations(operation)
        else:
            yield operation


def _find_last(network: Model) -> Operation:
    """Returns what last changes the values: what only gives them another shape is passed over."""
    return next(each for each in reversed(list(_list_operations(network))) if not _keeps(each, _SAME_VALUES))


def _keeps(operation: Operation, kinds: tuple[str, ...]) -> bool:
    kind = type(operation).__name__
    return kind in kinds or (kind == "Activation" and _activation_of(operation) == "linear")


def _activation_of(operation: Operation) -> str:
    if type(operation).__name__ == "Softmax":
        return "softmax"
    activation = getattr(operation, "activation", None)
    if activation is None:
        return "no activation that is known"
    return str(getattr(activation, "__name__", type(activation).__name__))


def _see_range(network: Model) -> PixelRange | None:
    """Returns which values a network expects, from what it does to them first; None: it cannot be seen."""
    for operation in _list_operations(network):
        kind = type(operation).__name__
        if _keeps(operation, _SAME_RANGE) or kind.startswith("Random"):
            continue
        if kind == "Rescaling":
            scale, offset = np.asarray(operation.scale), np.asarray(operation.offset)
            if np.all(scale == 1) and np.all(offset == 0):
                continue
            return _range_to(np.abs(scale).max(), np.abs(offset).max())
        if kind == "Normalization":
            return _range_around(np.asarray(operation.mean))
        if kind == "BatchNormalization":
            return _range_around(np.asarray(operation.moving_mean))
        return None
    return None


def _range_to(scale: float, offset: float) -> PixelRange | None:
    """Returns the range that such a rescaling brings to values as networks are fed them."""
    if offset <= _LARGEST_INPUT:
        if 1 / _LARGEST_INPUT <= 255 * scale <= _LARGEST_INPUT:
            return "0..255"
        if 1 / _LARGEST_INPUT <= scale <= _LARGEST_INPUT or scale == 255:  # some scale themselves, later on
            return "0..1"
    return None


def _range_around(mean: np.ndarray[Any, Any]) -> PixelRange | None:
    """Returns the range whose tissue has such a mean: bright, and never as dark as a thirtieth of white."""
    lowest, highest = float(mean.min()), float(mean.max())
    if lowest >= 255 / 30 and highest <= 255:
        return "0..255"
    return "0..1" if lowest >= 1 / 30 and highest <= 1 else None


def _without_activation(network: Model, last: Operation) -> Model:
    """Copies a network with its last activation left out, in whichever network inside it that stands."""
    from bcd.networks.backend import keras

    def copy(layer: Layer) -> Layer:
        if layer is last and type(layer).__name__ in ("Softmax", "Activation"):
            return keras.layers.Activation("linear", name=layer.name)
        config = layer.get_config()
        return layer.__class__.from_config(config | {"activation": "linear"} if layer is last else config)

    copied = keras.models.clone_model(network, clone_function=copy, recursive=True)
    copied.set_weights(network.get_weights())
    return copied


def _from_patches(logits: Model, pixels: PixelRange, outputs: int) -> Model:
    """Puts the scaling of pixels before a network, and the difference of two outputs behind it."""
    from bcd.networks.backend import keras

    patches = keras.Input(_SHAPE, name="patches")
    scale, offset = _SCALES[pixels]
    values = logits(keras.layers.Rescaling(scale, offset)(patches))
    values = keras.ops.cast(values, "float32")
    return keras.Model(patches, values[:, 1:] - values[:, :1] if outputs == 2 else values)


def _require_agreement(ready: Model, network: Model, pixels: PixelRange, activation: str, name: str) -> None:
    """Refuses a network that cannot be asked, gives no numbers, or whose logit is not its answer."""
    probes = np.random.default_rng(0).integers(0, 256, (_PROBES, *_SHAPE)).astype(np.float32)
    scale, offset = _SCALES[pixels]
    try:
        logit = np.asarray(ready.predict_on_batch(probes), np.float64)[:, 0]
        answer = np.asarray(network.predict_on_batch(probes * scale + offset), np.float64)
    except Exception as error:
        raise BcdError(f"{name} fails at a patch: {str(error).splitlines()[0]}", _PREDICTIONS) from error
    if not np.isfinite(logit).all():
        raise BcdError(f"{name} gives no number for a patch: its weights are not finite.", "Use another saved state.")
    if activation != "linear" and np.abs(1 / (1 + np.exp(-logit)) - answer[:, -1]).max() > _NEAR:
        raise BcdError(f"{name} could not be converted: its logit is not that of its answer.", _PREDICTIONS)
