"""Augmentation: exact views, stain in optical density, seeded, and inert outside training."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from bcd.networks.augmentation import STAIN_SCALE, Augment, keras, restain, turn

VIEWS = list(product([False, True], repeat=3))


def patches(n: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 50, 50, 3)).astype(np.float32)


def view(batch: np.ndarray, choice: tuple[bool, ...]) -> np.ndarray:
    flags = [np.full(len(batch), flag) for flag in choice]
    return keras.ops.convert_to_numpy(turn(batch, *flags))


def test_the_eight_views_are_all_different_and_keep_every_pixel() -> None:
    patch = patches(1)
    views = [view(patch, choice) for choice in VIEWS]
    assert len({seen.tobytes() for seen in views}) == 8
    for seen in views:
        np.testing.assert_array_equal(np.sort(seen.ravel()), np.sort(patch.ravel()))


def test_the_eight_views_are_a_group_each_undone_by_another() -> None:
    patch = patches(1)
    known = {view(patch, choice).tobytes() for choice in VIEWS}
    for choice in VIEWS:
        after = {view(view(patch, choice), other).tobytes() for other in VIEWS}
        assert after == known  # so one of them is the patch itself


def test_views_are_what_numpy_calls_them_and_chosen_patch_by_patch() -> None:
    batch = patches(4)
    flags = np.array([[0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1]], bool)
    seen = keras.ops.convert_to_numpy(turn(batch, *flags))
    np.testing.assert_array_equal(seen[0], batch[0])
    np.testing.assert_array_equal(seen[1], batch[1].swapaxes(0, 1))
    np.testing.assert_array_equal(seen[2], batch[2][::-1])
    np.testing.assert_array_equal(seen[3], batch[3].swapaxes(0, 1)[::-1, ::-1])


def test_restaining_by_nothing_changes_nothing() -> None:
    batch = patches(3)
    same = restain(batch, np.ones((3, 3), np.float32), np.zeros((3, 3), np.float32))
    np.testing.assert_allclose(same, batch, atol=0.05)


def test_more_haematoxylin_darkens_a_nucleus_and_leaves_white_white() -> None:
    nucleus = np.full((1, 50, 50, 3), [90.0, 60.0, 140.0], np.float32)
    white = np.full((1, 50, 50, 3), 255.0, np.float32)
    more = np.array([[1.3, 1.0, 1.0]], np.float32)
    none = np.zeros((1, 3), np.float32)
    assert (np.asarray(restain(nucleus, more, none)) < nucleus).all()
    np.testing.assert_allclose(restain(white, more, none), white, atol=0.01)


def test_augmentation_is_off_outside_training() -> None:
    batch = patches()
    np.testing.assert_array_equal(Augment(3.0)(batch, training=False), batch)
    np.testing.assert_array_equal(Augment(3.0)(batch), batch)


def test_the_same_seed_augments_alike_and_every_batch_differently() -> None:
    first, again, other = (Augment(1.0, seed) for seed in (1, 1, 2))
    batch = patches()
    one = np.asarray(first(batch, training=True))
    np.testing.assert_array_equal(one, again(batch, training=True))
    assert not np.array_equal(one, other(batch, training=True))
    assert not np.array_equal(one, first(batch, training=True))


def test_strength_zero_only_turns() -> None:
    batch = patches(32)
    turned = np.asarray(Augment(0.0)(batch, training=True))
    for before, after in zip(batch, turned, strict=True):
        np.testing.assert_array_equal(np.sort(after.ravel()), np.sort(before.ravel()))
    assert not np.array_equal(turned, batch)


@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_augmented_values_are_finite_and_stay_in_range(strength: float) -> None:
    extremes = np.concatenate([patches(), np.zeros((4, 50, 50, 3), np.float32), np.full((4, 50, 50, 3), 255.0)])
    augmented = np.asarray(Augment(strength)(extremes, training=True))
    assert np.isfinite(augmented).all()
    assert augmented.min() >= 0
    assert augmented.max() <= 255
    assert STAIN_SCALE * 3 < 1  # a factor on a density may not turn negative
