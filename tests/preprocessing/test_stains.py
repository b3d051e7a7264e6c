"""Stain normalisation: patch by patch, towards the reference, and never of what says too little."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from bcd.preprocessing import stains
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.preprocessing.stains import (
    REFERENCE_COLOUR,
    REFERENCE_STAINS,
    find_colour,
    find_stains,
    normalise_stain,
)
from bcd.snapshots.splits import published_list


def draw_tissue(
    n: int = 1, strength: tuple[float, float] = (1.0, 1.0), tint: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Draws patches of pixels that hold the two stains in random amounts; `tint` turns their colours."""
    draw = np.random.default_rng(seed)
    amounts = draw.gamma(2.0, 0.15, (n, 2500, 2)) * REFERENCE_STAINS.strength * strength
    vectors = REFERENCE_STAINS.vectors + np.array([[tint, -tint / 2, 0.0], [0.0, -tint / 2, tint]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    light = 256 * np.exp(-amounts @ vectors) - 1
    return np.clip(np.rint(light), 0, 255).astype(np.uint8).reshape(n, 50, 50, 3)


def test_macenko_finds_the_stains_that_a_patch_was_drawn_with() -> None:
    patch = draw_tissue(tint=0.08)[0]
    drawn = REFERENCE_STAINS.vectors + np.array([[0.08, -0.04, 0.0], [0.0, -0.04, 0.08]])
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    found = find_stains(patch)
    assert found is not None
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1)
    for one, other in zip(found.vectors, drawn, strict=True):
        assert np.degrees(np.arccos(one @ other)) < 3


@pytest.mark.parametrize("tint", [0.0, 0.06])
@pytest.mark.parametrize("strength", [(0.7, 0.7), (1.3, 1.3)])
def test_macenko_brings_another_stain_to_the_reference(tint: float, strength: tuple[float, float]) -> None:
    plain = draw_tissue(8)
    other = draw_tissue(8, strength=strength, tint=tint)
    target, before, after = (
        normalise_stain(plain, "macenko").mean((1, 2)),
        other.mean((1, 2)),
        normalise_stain(other, "macenko").mean((1, 2)),
    )
    assert np.abs(after - target).max() < 12
    assert np.abs(after - target).mean() < 0.35 * np.abs(before - target).mean()


def test_reinhard_gives_tissue_the_mean_and_spread_of_the_reference() -> None:
    patch = draw_tissue(strength=(0.8, 0.8))
    colour = find_colour(normalise_stain(patch, "reinhard")[0])
    assert colour is not None
    np.testing.assert_allclose(colour.mean, REFERENCE_COLOUR.mean, atol=2)
    np.testing.assert_allclose(colour.deviation, REFERENCE_COLOUR.deviation, rtol=0.2)


def test_reinhard_leaves_glass_white() -> None:
    patch = draw_tissue()
    patch[0, :20] = 250
    np.testing.assert_array_equal(normalise_stain(patch, "reinhard")[0, :20], 250)


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
@pytest.mark.parametrize("kind", ["white", "nearly white", "few pixels of tissue"])
def test_a_patch_with_hardly_any_tissue_stays_as_it_is(method, kind: str) -> None:
    patch = np.full((1, 50, 50, 3), 255, np.uint8)
    if kind == "nearly white":
        patch -= np.random.default_rng(0).integers(0, 20, patch.shape, dtype=np.uint8)
    if kind == "few pixels of tissue":
        patch[0, :5] = draw_tissue()[0, :5]
    np.testing.assert_array_equal(normalise_stain(patch, method), patch)


@pytest.mark.parametrize("kind", ["one colour", "black", "one stain"])
def test_macenko_leaves_alone_what_has_not_two_stains(kind: str) -> None:
    patch = np.full((1, 50, 50, 3), (160, 90, 150), np.uint8)
    if kind == "black":
        patch[:] = 0
    if kind == "one stain":
        amounts = np.random.default_rng(0).gamma(2.0, 0.5, (1, 50, 50, 1))
        patch = np.clip(256 * np.exp(-amounts * REFERENCE_STAINS.vectors[0]) - 1, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(normalise_stain(patch, "macenko"), patch)


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_no_gain_is_larger_than_it_may_be(method, monkeypatch: pytest.MonkeyPatch) -> None:
    faint = draw_tissue(strength=(0.3, 0.3))
    bounded = normalise_stain(faint, method)
    monkeypatch.setattr(stains, "MOST_GAIN", 100.0)
    assert normalise_stain(faint, method).std() > bounded.std() + 0.5


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_each_patch_is_normalised_by_itself_before_it_is_sharpened(method) -> None:
    patches = np.concatenate([draw_tissue(3), draw_tissue(3, strength=(1.5, 0.6), seed=1)])
    alone = np.concatenate([normalise_stain(patches[i : i + 1], method) for i in range(6)])
    np.testing.assert_array_equal(normalise_stain(patches, method), alone)
    np.testing.assert_array_equal(
        prepare(patches, PrepareOptions(stain=method)), prepare(alone, PrepareOptions(stain="none"))
    )


@pytest.mark.real_data
def test_the_references_are_those_of_the_published_train_patients(deliveries: Path) -> None:
    patches = _train_patches(deliveries)
    assert len(patches) == 82
    measured = [[find_stains(patch) for patch in each] for each in patches.values()]
    vectors = _medians(measured, "vectors")
    np.testing.assert_allclose(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True), REFERENCE_STAINS.vectors, atol=1e-4
    )
    np.testing.assert_allclose(_medians(measured, "strength"), REFERENCE_STAINS.strength, atol=1e-4)
    colours = [[find_colour(patch) for patch in each] for each in patches.values()]
    np.testing.assert_allclose(_medians(colours, "mean"), REFERENCE_COLOUR.mean, atol=1e-2)
    np.testing.assert_allclose(_medians(colours, "deviation"), REFERENCE_COLOUR.deviation, atol=1e-2)


def _train_patches(deliveries: Path) -> dict[str, list[np.ndarray]]:
    """Returns the first twenty full-size patches of each published train patient, in the order of their names."""
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for path in sorted(deliveries.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                patient = name.rsplit("/", 1)[-1].split("_")[0]
                if name.endswith(".png") and patient in published_list("train"):
                    found[patient][name.rsplit("/", 1)[-1]] = archive.read(name)
    patches = {}
    for patient, files in found.items():
        pictures = (cv2.imdecode(np.frombuffer(files[name], np.uint8), 1)[..., ::-1] for name in sorted(files))
        patches[patient] = [np.ascontiguousarray(one) for one in pictures if one.shape == (50, 50, 3)][:20]
    return patches


def _medians(measured: list[list], name: str) -> np.ndarray:
    known = [[getattr(one, name) for one in patient if one is not None] for patient in measured]
    return np.median([np.median(patient, axis=0) for patient in known if patient], axis=0)
