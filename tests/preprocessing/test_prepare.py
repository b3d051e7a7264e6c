"""Preparation: the founding sharpening, one patch at a time."""

from __future__ import annotations

import importlib
import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bcd.errors import BcdError
from bcd.preprocessing.options import PREPARATION, PrepareOptions
from bcd.preprocessing.prepare import prepare

module = importlib.import_module("bcd.preprocessing.prepare")

FOUNDING = np.array([[-1, -1, -1], [-1, 9, -1], [-1, -1, -1]])


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 50, 50, 3), dtype=np.uint8)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 6), seed=st.integers(0, 2**16))
def test_every_patch_is_sharpened_as_opencv_sharpens_it_alone(n: int, seed: int) -> None:
    patches = noise(n, seed)
    prepared = prepare(patches, PrepareOptions())
    assert prepared.shape == patches.shape
    for before, after in zip(patches, prepared, strict=True):
        np.testing.assert_array_equal(after, cv2.filter2D(before, -1, FOUNDING))


def test_many_patches_in_threads_are_sharpened_as_one_by_one() -> None:
    patches = noise(100)
    one_by_one = np.stack([cv2.filter2D(patch, -1, FOUNDING) for patch in patches])
    np.testing.assert_array_equal(prepare(patches, PrepareOptions(), block=3), one_by_one)


def test_a_failure_in_a_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(cv2, "filter2D", fail)
    with pytest.raises(MemoryError):
        prepare(noise(10), PrepareOptions(), block=3)


def test_the_version_of_the_preparation_is_recorded_counts_and_is_asked_for() -> None:
    assert PrepareOptions().model_dump()["version"] == PREPARATION
    changed = PrepareOptions.model_construct(sharpen=True, version=2)  # type: ignore[arg-type]
    assert changed.fingerprint() != PrepareOptions().fingerprint()
    with pytest.raises(ValidationError, match="version"):
        PrepareOptions.model_validate({"version": PREPARATION + 1})


def test_the_kernel_is_nine_times_the_pixel_less_its_eight_neighbours_clipped() -> None:
    patch = np.full((1, 50, 50, 3), 100, np.uint8)
    patch[0, 20, 20] = 110
    prepared = prepare(patch, PrepareOptions())[0]
    assert (prepared[20, 20] == 190).all()  # 9 x 110 - 8 x 100
    assert (prepared[19, 21] == 90).all()  # 9 x 100 - 7 x 100 - 110
    patch[0, 20, 20] = 255
    assert (prepare(patch, PrepareOptions())[0, 20, 20] == 255).all()


def test_no_patch_bleeds_into_another() -> None:
    patches = noise(3)
    alone = np.concatenate([prepare(patches[i : i + 1], PrepareOptions()) for i in range(3)])
    np.testing.assert_array_equal(prepare(patches, PrepareOptions()), alone)


def test_flat_colour_stays_as_it_is_up_to_the_border() -> None:
    flat = np.full((1, 50, 50, 3), 77, np.uint8)
    np.testing.assert_array_equal(prepare(flat, PrepareOptions()), flat)


def test_without_sharpening_the_patches_are_copied_unchanged() -> None:
    patches = noise(2)
    prepared = prepare(patches, PrepareOptions(sharpen=False))
    np.testing.assert_array_equal(prepared, patches)
    assert not np.shares_memory(prepared, patches)


def test_preparation_leaves_its_input_alone_and_reads_strided_arrays() -> None:
    patches = noise(2)
    kept = patches.copy()
    bgr = patches[..., ::-1]
    np.testing.assert_array_equal(prepare(bgr, PrepareOptions()), prepare(patches, PrepareOptions())[..., ::-1])
    np.testing.assert_array_equal(patches, kept)


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 50, 42, 3), np.uint8), np.zeros((50, 50, 3), np.uint8), np.zeros((2, 50, 50, 3))]
)
def test_other_arrays_are_refused_by_name(wrong: np.ndarray) -> None:
    with pytest.raises(BcdError, match=re.escape(f"{wrong.shape} and type {wrong.dtype}")):
        prepare(wrong, PrepareOptions())
