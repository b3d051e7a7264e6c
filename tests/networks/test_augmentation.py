"""Augmentation: exact turns, stain in optical density, seeded, and inert outside training."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest

from bcd.networks.augmentation import CONTRAST, STAIN_SCALE, Augment, augment_light, augment_stain, turn
from bcd.networks.backend import keras

TURNS = list(product([False, True], repeat=3))


def patches(n: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 50, 50, 3)).astype(np.float32)


def turned(batch: np.ndarray, choice: tuple[bool, ...]) -> np.ndarray:
    flags = [np.full(len(batch), flag) for flag in choice]
    return keras.ops.convert_to_numpy(turn(batch, *flags))


def test_the_eight_turns_are_all_different_and_keep_every_pixel() -> None:
    patch = patches(1)
    turns = [turned(patch, choice) for choice in TURNS]
    assert len({seen.tobytes() for seen in turns}) == 8
    for seen in turns:
        np.testing.assert_array_equal(np.sort(seen.ravel()), np.sort(patch.ravel()))


def test_the_eight_turns_are_a_group_each_undone_by_another() -> None:
    patch = patches(1)
    known = {turned(patch, choice).tobytes() for choice in TURNS}
    for choice in TURNS:
        after = {turned(turned(patch, choice), other).tobytes() for other in TURNS}
        assert after == known  # so one of them is the patch itself


def test_turns_are_what_numpy_calls_them_and_chosen_patch_by_patch() -> None:
    batch = patches(4)
    flags = np.array([[0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]], bool)
    seen = keras.ops.convert_to_numpy(turn(batch, *flags))
    np.testing.assert_array_equal(seen[0], batch[0])
    np.testing.assert_array_equal(seen[1], batch[1].swapaxes(0, 1))
    np.testing.assert_array_equal(seen[2], batch[2][::-1])
    np.testing.assert_array_equal(seen[3], batch[3].swapaxes(0, 1)[::-1, ::-1])


def test_restaining_by_nothing_changes_nothing() -> None:
    batch = patches(3)
    same = augment_stain(batch, np.ones((3, 3), np.float32), np.zeros((3, 3), np.float32))
    np.testing.assert_allclose(same, batch, atol=0.05)


def test_more_haematoxylin_darkens_a_nucleus_and_leaves_white_white() -> None:
    nucleus = np.full((1, 50, 50, 3), [90.0, 60.0, 140.0], np.float32)
    white = np.full((1, 50, 50, 3), 255.0, np.float32)
    more = np.array([[1.3, 1.0, 1.0]], np.float32)
    none = np.zeros((1, 3), np.float32)
    assert (np.asarray(augment_stain(nucleus, more, none)) < nucleus).all()
    np.testing.assert_allclose(augment_stain(white, more, none), white, atol=0.01)


# Optical densities of the two stains in R, G, B, from Ruifrok & Johnston (2001), as scikit-image has them too.
HAEMATOXYLIN = np.array([0.650, 0.704, 0.286])
EOSIN = np.array([0.072, 0.990, 0.105])


def stained(density: np.ndarray) -> np.ndarray:
    """A patch of that optical density, (1, 50, 50, 3)."""
    return np.broadcast_to(256 * np.exp(-density) - 1, (1, 50, 50, 3)).astype(np.float32)


def density(patch: np.ndarray) -> np.ndarray:
    return -np.log((np.asarray(patch, np.float64)[0, 0, 0] + 1) / 256)


@pytest.mark.parametrize(("stain", "axis"), [(0, HAEMATOXYLIN), (1, EOSIN)])
def test_a_pure_stain_moves_along_its_own_density_and_only_by_its_own_factor(stain: int, axis: np.ndarray) -> None:
    axis = axis / np.linalg.norm(axis)
    patch, none = stained(0.8 * axis), np.zeros((1, 3), np.float32)
    own, others = np.ones((1, 3), np.float32), np.full((1, 3), 1.5, np.float32)
    own[0, stain], others[0, stain] = 1.5, 1.0
    np.testing.assert_allclose(density(augment_stain(patch, own, none)), 1.2 * axis, atol=1e-4)
    np.testing.assert_allclose(augment_stain(patch, others, none), patch, atol=0.01)
    added = np.zeros((1, 3), np.float32)
    added[0, stain] = 0.25
    np.testing.assert_allclose(density(augment_stain(patch, own, added)), 1.45 * axis, atol=1e-4)


def test_each_patch_of_a_batch_is_stained_by_its_own_draw() -> None:
    batch = np.concatenate([stained(0.5 * HAEMATOXYLIN)] * 3)
    scale = np.array([[1, 1, 1], [1.2, 1, 1], [0.8, 1, 1]], np.float32)
    seen = np.asarray(augment_stain(batch, scale, np.zeros((3, 3), np.float32)))
    for factor, patch in zip((0.5, 0.6, 0.4), seen, strict=True):
        np.testing.assert_allclose(density(patch[None]), factor * HAEMATOXYLIN, atol=1e-4)


def test_light_changes_contrast_around_the_mean_of_each_patch_and_then_brightness() -> None:
    batch = np.stack([np.full((50, 50, 3), 100.0), np.full((50, 50, 3), 40.0)]).astype(np.float32)
    batch[:, :25] += 20  # means 110 and 50
    seen = np.asarray(augment_light(batch, np.array([2.0, 0.5], np.float32), np.array([3.0, -5.0], np.float32)))
    np.testing.assert_allclose(seen[0, [0, 49], 0, 0], [133, 93], atol=1e-3)
    np.testing.assert_allclose(seen[1, [0, 49], 0, 0], [50, 40], atol=1e-3)


def test_augmentation_is_off_outside_training() -> None:
    batch = patches()
    np.testing.assert_array_equal(Augment(3.0, 3.0)(batch, training=False), batch)
    np.testing.assert_array_equal(Augment(3.0, 3.0)(batch), batch)


def test_the_same_seed_augments_alike_and_every_batch_differently() -> None:
    first, again, other = (Augment(1.0, 1.0, seed) for seed in (1, 1, 2))
    batch = patches()
    one, two = (np.asarray(first(batch, training=True)) for _ in range(2))
    np.testing.assert_array_equal(one, again(batch, training=True))
    np.testing.assert_array_equal(two, again(batch, training=True))
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, other(batch, training=True))


def test_strength_zero_only_turns_and_reaches_all_eight_turns_alike() -> None:
    patch = patches(1)
    seen = np.asarray(Augment(0.0, 0.0, seed=3)(np.repeat(patch, 800, axis=0), training=True))
    counts = Counter(each.tobytes() for each in seen)
    assert counts.keys() == {turned(patch, choice).tobytes() for choice in TURNS}
    assert min(counts.values()) > 60  # of 100 expected; four deviations


def test_stain_and_light_are_chosen_apart() -> None:
    grey = np.full((16, 50, 50, 3), 128.0, np.float32)  # turning it shows nothing
    lit = np.asarray(Augment(0.0, 1.0)(grey, training=True))
    assert (lit == lit[..., :1]).all()  # light keeps grey grey
    assert len(np.unique(lit[:, 0, 0, 0])) == 16
    restained = np.asarray(Augment(1.0, 0.0)(grey, training=True))
    assert np.ptp(restained[:, 0, 0], axis=1).min() > 0.01
    np.testing.assert_array_equal(Augment(0.0, 0.0)(grey, training=True), grey)


def test_strength_scales_the_spread() -> None:
    grey = np.full((400, 50, 50, 3), 128.0, np.float32)
    for strengths in ((1.0, 0.0), (0.0, 1.0)):
        once, twice = (
            np.asarray(Augment(*(factor * each for each in strengths), seed=4)(grey, training=True))[:, 0, 0].std()  # type: ignore[arg-type, misc]
            for factor in (1, 2)
        )
        assert twice == pytest.approx(2 * once, rel=0.05)


@pytest.mark.parametrize("strength", [1.0, 5.0])
def test_augmented_values_are_finite_and_stay_in_range(strength: float) -> None:
    extremes = np.concatenate([patches(), np.zeros((4, 50, 50, 3)), np.full((4, 50, 50, 3), 255.0)])
    augmented = np.asarray(Augment(strength, strength)(extremes.astype(np.float32), training=True))
    assert np.isfinite(augmented).all()
    assert augmented.min() >= 0
    assert augmented.max() <= 255
    assert max(STAIN_SCALE, CONTRAST) * 5 < 1  # a factor may not turn negative


def test_augmented_values_are_float32_whatever_comes_in_and_under_mixed_precision() -> None:
    pixels = patches().astype(np.uint8)
    full = Augment(seed=1)(pixels, training=True)
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        mixed = Augment(seed=1)(pixels.astype(np.float32), training=True)
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(full.dtype) == "float32"
    assert keras.backend.standardize_dtype(mixed.dtype) == "float32"
    np.testing.assert_array_equal(full, mixed)
