"""Augmentation of prepared patches, batched, on the device, while training only.

The layer stands before the network while it trains and is never saved with it. It takes Keras at import, so
import this module inside the function that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bcd.networks.backend import keras
from bcd.networks.devices import draw_device_share

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor

ops = keras.ops

# Optical densities of haematoxylin, eosin and the residual in R, G, B (Ruifrok & Johnston 2001).
_STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]], np.float32)
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
_UNMIX = np.linalg.inv(_STAINS)

STAIN_SCALE, STAIN_SHIFT = 0.10, 0.02
"""Half ranges of the factor on a stain's density and of what is added to it, at strength 1 (Tellez 2019)."""

BRIGHTNESS, CONTRAST = 12.0, 0.10
"""Half ranges of what is added to all values (of 255) and of the factor around their mean, at strength 1."""


def turn(patches: Tensor, transpose: Tensor, upside_down: Tensor, mirrored: Tensor) -> Tensor:
    """Turns patches without interpolation: the three choices together are the eight turns of a square.

    Args:
        patches: (n, edge, edge, channels).
        transpose: Whether to swap rows and columns, (n,) of bool; done first.
        upside_down: Whether to reverse the rows, (n,) of bool.
        mirrored: Whether to reverse the columns, (n,) of bool.
    """

    def where(choice: Tensor, turned: Tensor, patches: Tensor) -> Tensor:
        return ops.where(ops.reshape(choice, (-1, 1, 1, 1)), turned, patches)

    patches = where(transpose, ops.transpose(patches, (0, 2, 1, 3)), patches)
    patches = where(upside_down, ops.flip(patches, axis=1), patches)
    return where(mirrored, ops.flip(patches, axis=2), patches)


def augment_stain(patches: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Changes the amount of each stain, in optical density (Tellez 2019, after Ruifrok & Johnston 2001).

    Args:
        patches: (n, edge, edge, 3), RGB, 0 to 255.
        scale: Factor on the density of haematoxylin, eosin and residual, (n, 3).
        shift: What is added to it, (n, 3).
    """
    density = -ops.log((patches + 1.0) / 256.0)
    # Unmix, scale and mix again are one 3x3 matrix a patch.
    change = ops.matmul(_UNMIX * ops.expand_dims(scale, 1), _STAINS)
    height, width = patches.shape[1:3]
    flat = ops.matmul(ops.reshape(density, (-1, height * width, 3)), change)
    flat = flat + ops.expand_dims(ops.matmul(shift, _STAINS), 1)
    return ops.clip(256.0 * ops.exp(-ops.reshape(flat, (-1, height, width, 3))) - 1.0, 0.0, 255.0)


def augment_light(patches: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Changes the contrast around each patch's own mean, then the brightness.

    Args:
        patches: (n, edge, edge, channels), 0 to 255.
        contrast: Factor on what differs from the mean, (n,).
        brightness: What is added to all values, (n,).
    """
    contrast, brightness = (ops.reshape(value, (-1, 1, 1, 1)) for value in (contrast, brightness))
    mean = ops.mean(patches, axis=(1, 2, 3), keepdims=True)
    return ops.clip((patches - mean) * contrast + mean + brightness, 0.0, 255.0)


class Augment(keras.layers.Layer):  # type: ignore[misc]  # Keras is untyped
    """One of eight exact turns, and jitter of stain and of light, of every patch, while training.

    Args:
        stain: Scale of the jitter of haematoxylin, eosin and residual in optical density; 0: none.
        light: Scale of the jitter of brightness and contrast; 0: none.
        seed: Seeds every draw.
    """

    def __init__(self, stain: float = 1.0, light: float = 1.0, seed: int = 0) -> None:
        super().__init__(name="augment")
        self.stain, self.light = stain, light
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, patches: Tensor, training: bool = False) -> Tensor:
        """Returns the patches as float32, augmented if `training`; values stay within 0 to 255."""
        patches = ops.cast(patches, "float32")
        if not training:
            return patches
        n = ops.shape(patches)[0]
        coins = self._draw((3, n), 1.0, axis=1) > 0
        patches = turn(patches, coins[0], coins[1], coins[2])
        if self.stain:
            scale = 1.0 + self._draw((n, 3), STAIN_SCALE * self.stain)
            patches = augment_stain(patches, scale, self._draw((n, 3), STAIN_SHIFT * self.stain))
        if self.light:
            contrast = 1.0 + self._draw((n,), CONTRAST * self.light)
            patches = augment_light(patches, contrast, self._draw((n,), BRIGHTNESS * self.light))
        return patches

    def _draw(self, shape: tuple[int, ...], half_range: float, axis: int = 0) -> Tensor:
        def draw(shape: tuple[int, ...]) -> Tensor:
            return keras.random.uniform(shape, -half_range, half_range, seed=self.seeds)

        return draw_device_share(draw, shape, axis)
