"""From stain to colour: haematoxylin and eosin as concentrations, absorbed by Beer and Lambert's law.

A patient's slide was cut, stained and scanned once: `Stain` holds what that made of it. It varies around a hospital's
own habit.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from bcd.synthetic.texture import Field, Shape, smooth_noise

Vector = NDArray[np.float32]

# Optical densities in red, green and blue that a concentration of 1 has: Ruifrok & Johnston (2001), brought nearer to
# slides of the public set by eye.
_HAEMATOXYLIN = np.array([0.82, 1.02, 0.46])
_EOSIN = np.array([0.10, 0.62, 0.30])
_BLOOD = np.array([0.14, 1.30, 0.95])


@dataclass(frozen=True)
class Stain:
    """How one slide was stained and scanned.

    Attributes:
        vectors: Optical density of haematoxylin, eosin and blood in red, green and blue, shape (3, 3).
        white: What the scanner makes of empty glass, in red, green and blue.
        blur: Sigma of the lens, in pixels.
        noise: Deviation of the sensor's noise, in grey levels.
    """

    vectors: Vector
    white: Vector
    blur: float
    noise: float


@dataclass(frozen=True)
class StainHabit:
    """What the slides of a hospital have in common: log intensity and tint of each stain, and the scanner's white."""

    intensity: Vector
    tint: Vector
    white: float


def draw_habit(rng: np.random.Generator) -> StainHabit:
    """Draws how a hospital stains."""
    return StainHabit(
        intensity=rng.normal(0, 0.08, 3).astype(np.float32),
        tint=rng.normal(0, 0.06, (3, 3)).astype(np.float32),
        white=float(rng.uniform(240, 248)),
    )


def draw_hospital_stain(rng: np.random.Generator, habit: StainHabit) -> Stain:
    """Draws how one slide of a hospital was stained."""
    base = np.stack([_HAEMATOXYLIN, _EOSIN, _BLOOD]).astype(np.float32)
    intensity = np.exp(habit.intensity + rng.normal(0, [0.36, 0.36, 0.1]))[:, None]
    tint = np.exp(habit.tint + rng.normal(0, 0.13, (3, 3)))
    return Stain(
        vectors=(base * intensity * tint).astype(np.float32),
        white=(habit.white + rng.normal(0, [2.0, 2.0, 2.0])).clip(230, 252).astype(np.float32),
        blur=float(rng.uniform(0.25, 0.5)),
        noise=float(rng.uniform(1.2, 2.5)),
    )


def render_stain(
    rng: np.random.Generator, concentrations: tuple[Field, Field, Field], stain: Stain
) -> NDArray[np.uint8]:
    """Returns the RGB picture, uint8, of fields of haematoxylin, eosin and blood."""
    shape: Shape = concentrations[0].shape
    # The section's thickness and the lamp are not even.
    light = 1 + 0.012 * smooth_noise(rng, shape, max(shape) / 1.5)
    picture = np.empty((*shape, 3), np.float32)
    for channel in range(3):
        density = sum(field * weight for field, weight in zip(concentrations, stain.vectors[:, channel], strict=True))
        picture[..., channel] = stain.white[channel] * light * np.exp(-density)
    picture = cv2.GaussianBlur(picture, (0, 0), stain.blur)
    picture += np.float32(stain.noise) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)
