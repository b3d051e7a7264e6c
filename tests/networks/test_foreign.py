"""Networks that others made: whatever they end in becomes one logit, exactly, or they are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS
from bcd.networks.backend import keras
from bcd.networks.build import build_network, is_bcd_network
from bcd.networks.foreign import PixelRange, understand_network
from bcd.networks.keras_files import load_network

layers = keras.layers

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 50, 50, 3), dtype=np.uint8)


def make(*end: Any, before: Any = None, shape: tuple[int | None, ...] = (50, 50, 3)) -> Any:
    """A network that scales pixels 0 to 255, looks at the patch, and ends in those layers."""
    keras.utils.set_random_seed(1)
    start = layers.Rescaling(1 / 255) if before is None else before
    body = [start, layers.Conv2D(4, 5, strides=5, activation="relu"), layers.GlobalAveragePooling2D()]
    network = keras.Sequential([keras.Input(shape), *body, *end])
    network.set_weights([3 * weights for weights in network.get_weights()])
    return network


def nest(inner: Any) -> Any:
    patches = keras.Input((50, 50, 3))
    return keras.Model(patches, layers.Flatten()(inner(layers.RandomFlip()(patches))))


def logits(network: Any, pixels: PixelRange | None = None) -> np.ndarray:
    return np.asarray(understand_network(network, "a.keras", pixels).network.predict_on_batch(PIXELS))[:, 0]


def answers(network: Any) -> np.ndarray:
    return np.asarray(network.predict_on_batch(PIXELS), np.float64)


def to_logit(probability: np.ndarray) -> np.ndarray:
    return np.log(probability / (1 - probability))


ENDS: dict[str, tuple[Callable[[], list[Any]], Callable[[np.ndarray], np.ndarray]]] = {
    "a linear unit": (lambda: [layers.Dense(1)], lambda answer: answer[:, 0]),
    "a sigmoid": (lambda: [layers.Dense(1, activation="sigmoid")], lambda answer: to_logit(answer[:, 0])),
    "a sigmoid as a layer": (
        lambda: [layers.Dense(1), layers.Activation("sigmoid")],
        lambda answer: to_logit(answer[:, 0]),
    ),
    "a sigmoid, then another shape": (
        lambda: [layers.Dense(1, activation="sigmoid"), layers.Reshape((1, 1)), layers.Flatten()],
        lambda answer: to_logit(answer[:, 0]),
    ),
    "a softmax of two": (lambda: [layers.Dense(2, activation="softmax")], lambda answer: to_logit(answer[:, 1])),
    "a softmax as a layer": (lambda: [layers.Dense(2), layers.Softmax()], lambda answer: to_logit(answer[:, 1])),
    "two logits": (lambda: [layers.Dense(2)], lambda answer: answer[:, 1] - answer[:, 0]),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_what_a_network_ends_in_becomes_one_logit(end: str, nested: bool) -> None:
    layers_of, expected = ENDS[end]
    network = nest(make(*layers_of())) if nested else make(*layers_of())
    found = logits(network)
    assert np.ptp(found) > 0.001
    np.testing.assert_allclose(found, expected(answers(network)), rtol=1e-3, atol=1e-3)


def test_a_saturated_sigmoid_keeps_its_order() -> None:
    network = make(layers.Dense(1, activation="sigmoid"))
    weights = network.get_weights()
    weights[-1] = np.array([200.0], np.float32)  # beyond what a float32 probability can tell from 1
    network.set_weights(weights)
    assert len(set(answers(network)[:, 0])) == 1
    assert len(set(logits(network))) == len(PIXELS)


def _with_operation() -> Any:
    network = make(layers.Dense(1))
    return keras.Model(network.inputs, keras.ops.sigmoid(network.outputs[0]))


def _with_two_outputs() -> Any:
    patches = keras.Input((50, 50, 3))
    values = layers.GlobalAveragePooling2D()(patches)
    return keras.Model(patches, [values, layers.Dense(1)(values)])


def _without_numbers() -> Any:
    network = make(layers.Dense(1))
    network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
    return network


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "three classes": (lambda: make(layers.Dense(3, activation="softmax")), "3 classes"),
    "a softmax of one": (lambda: make(layers.Dense(1, activation="softmax")), "one output of Dense .softmax"),
    "two sigmoids": (lambda: make(layers.Dense(2, activation="sigmoid")), "two outputs of Dense .sigmoid"),
    "tanh": (lambda: make(layers.Dense(1, activation="tanh")), "tanh"),
    "a mean of probabilities": (
        lambda: keras.Sequential(
            [
                keras.Input((50, 50, 3)),
                layers.Rescaling(1 / 255),
                layers.Conv2D(1, 5, activation="sigmoid"),
                layers.GlobalAveragePooling2D(),
            ]
        ),
        "GlobalAveragePooling2D",
    ),
    "a sigmoid that is no layer": (
        _with_operation,
        "Sigmoid",
    ),
    "another size": (lambda: make(layers.Dense(1), shape=(96, 96, 3)), "takes 96x96x3"),
    "any size": (lambda: make(layers.Dense(1), shape=(None, None, 3)), r"takes \?x\?x3"),
    "grey": (lambda: make(layers.Dense(1), shape=(50, 50, 1)), "takes 50x50x1"),
    "no size": (lambda: keras.Sequential([layers.Flatten(), layers.Dense(1)]), "takes nothing"),
    "a map": (
        lambda: keras.Sequential([keras.Input((50, 50, 3)), layers.Conv2D(1, 1, activation="sigmoid")]),
        "gives 50x50x1",
    ),
    "two outputs": (_with_two_outputs, "gives 3 and 1"),
    "weights that are no numbers": (_without_numbers, "no number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_gives_no_logit_of_a_patch_is_refused(case: str) -> None:
    network, message = REFUSED[case]
    with pytest.raises(BcdError, match=message):
        understand_network(network(), "a.keras", "0..255")


def _normalization(mean: float) -> Any:
    return layers.Normalization(mean=[mean] * 3, variance=[1.0] * 3)


def _batch_normalization(mean: float) -> Any:
    layer = layers.BatchNormalization()
    layer.build((None, 50, 50, 3))
    layer.set_weights([np.ones(3), np.zeros(3), np.full(3, mean), np.ones(3)])
    return layer


SEEN: dict[str, tuple[Callable[[], Any], str]] = {
    "1/255": (lambda: layers.Rescaling(1 / 255), "0..255"),
    "1/127.5 - 1": (lambda: layers.Rescaling(1 / 127.5, -1), "0..255"),
    "by channel": (lambda: layers.Rescaling([0.017, 0.018, 0.017], [-2.1, -2.0, -1.8]), "0..255"),
    "2 - 1": (lambda: layers.Rescaling(2, -1), "0..1"),
    "255": (lambda: layers.Rescaling(255.0), "0..1"),
    "mean 180": (lambda: _normalization(180), "0..255"),
    "mean 0.7": (lambda: _normalization(0.7), "0..1"),
}


@pytest.mark.parametrize("case", SEEN)
def test_the_pixels_that_a_network_expects_are_seen(case: str) -> None:
    before, expected = SEEN[case]
    network = make(layers.Dense(1), before=before())
    foreign = understand_network(network, "a.keras", "-1..1")  # what is said does not change what is seen
    assert f"pixels {expected} (found" in foreign.notes[0]
    given = PIXELS if expected == "0..255" else PIXELS / 255
    found = np.asarray(foreign.network.predict_on_batch(PIXELS))
    np.testing.assert_allclose(found, network.predict_on_batch(given), rtol=1e-4)


@pytest.mark.parametrize(("mean", "expected"), [(180, "0..255"), (0.7, "0..1")])
def test_a_first_batch_normalisation_shows_them_too(mean: float, expected: str) -> None:
    patches = keras.Input((50, 50, 3))
    normalised = _batch_normalization(mean)(patches)
    network = keras.Model(patches, layers.Dense(1)(layers.GlobalAveragePooling2D()(normalised)))
    assert f"pixels {expected} (found" in understand_network(network, "a.keras").notes[0]


@pytest.mark.parametrize(
    ("pixels", "scaled"), [("0..255", PIXELS), ("0..1", PIXELS / 255), ("-1..1", PIXELS / 127.5 - 1)]
)
def test_what_cannot_be_seen_is_asked_for(pixels: PixelRange, scaled: np.ndarray) -> None:
    network = make(layers.Dense(1), before=layers.Identity())
    with pytest.raises(BcdError, match="--pixels"):
        understand_network(network, "a.keras")
    np.testing.assert_allclose(logits(network, pixels), network.predict_on_batch(scaled)[:, 0], rtol=1e-3, atol=1e-3)


def test_a_network_of_bcd_is_known_and_keeps_its_logits(tmp_path: Path) -> None:
    build_network(PRESETS["compact"]).save(tmp_path / "network.keras")
    network = load_network(tmp_path / "network.keras")
    assert is_bcd_network(network)
    assert not is_bcd_network(make(layers.Dense(1)))
    np.testing.assert_array_equal(logits(network), np.asarray(network.predict_on_batch(PIXELS))[:, 0])
