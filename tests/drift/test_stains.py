"""The stains of a patch: found where it says enough of them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from bcd.drift.stains import find_stains

VECTORS = np.array([[0.4985, 0.7489, 0.4365], [0.1925, 0.8324, 0.5197]])
"""Haematoxylin and eosin as in the public set."""


def draw_tissue(
    strength: tuple[float, float] = (1.4, 1.1), tint: float = 0.0, tissue: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a patch of pixels that hold both stains in random amounts; `tint` turns their colours, drawn too."""
    draw = np.random.default_rng(0)
    vectors = VECTORS + np.array([[tint, -tint / 2, 0.0], [0.0, -tint / 2, tint]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    amounts = draw.gamma(2.0, 0.15, (2500, 2)) * strength * (draw.random((2500, 1)) < tissue)
    light = 256 * np.exp(-amounts @ vectors) - 1
    return np.clip(np.rint(light), 0, 255).astype(np.uint8).reshape(50, 50, 3), vectors


@pytest.mark.parametrize("tint", [0.0, 0.08])
def test_the_stains_that_a_patch_was_drawn_with_are_found(tint: float) -> None:
    patch, drawn = draw_tissue(tint=tint)
    found = find_stains(patch)
    assert found is not None
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1)
    for one, other in zip(found.vectors, drawn, strict=True):
        assert np.degrees(np.arccos(one @ other)) < 3


@pytest.mark.parametrize("stain", [0, 1])
def test_more_of_a_stain_is_its_own_strength(stain: int) -> None:
    strength = np.array([1.4, 1.1])
    more = strength.copy()
    more[stain] *= 1.5
    plain, strong = find_stains(draw_tissue(tuple(strength))[0]), find_stains(draw_tissue(tuple(more))[0])
    assert plain is not None
    assert strong is not None
    gain = strong.strength / plain.strength
    assert gain[stain] == pytest.approx(1.5, rel=0.15)
    assert gain[1 - stain] == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize("kind", ["white", "nearly white", "little tissue", "one colour", "black", "one stain"])
def test_a_patch_that_says_too_little_of_its_stains_has_none(kind: str) -> None:
    draw = np.random.default_rng(0)
    amounts = draw.gamma(2.0, 0.5, (50, 50, 1))
    white = np.full((50, 50, 3), 255, np.uint8)
    patches = {
        "white": white,
        "nearly white": white - draw.integers(0, 20, white.shape, dtype=np.uint8),
        "little tissue": draw_tissue(tissue=0.1)[0],
        "one colour": np.broadcast_to(np.array([160, 90, 150], np.uint8), (50, 50, 3)),
        "black": np.zeros_like(white),
        "one stain": np.clip(256 * np.exp(-amounts * VECTORS[0]) - 1, 0, 255).astype(np.uint8),
    }
    assert find_stains(patches[kind]) is None
