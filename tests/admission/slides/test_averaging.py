from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcd.admission.slides.averaging import average_areas, lay_areas
from bcd.admission.slides.memory import ThreadMemory


@given(
    n=st.integers(1, 30),
    step=st.floats(0.5, 40),
    start=st.floats(0, 100),
    short=st.integers(0, 3),
)
def test_each_interval_is_the_mean_of_what_it_covers(n: int, step: float, start: float, short: int) -> None:
    edges = start + np.arange(n + 1) * step
    low, high = int(edges[0]), max(int(np.ceil(edges[-1])) - short, int(edges[-2]) + 1)
    values = np.random.default_rng(0).random(high - low)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    integral = np.interp(np.clip(edges, low, high) - low, np.arange(high - low + 1), sums)
    widths = np.diff(np.clip(edges, low, high))
    weights = lay_areas(edges.astype(np.float64), low, high).weights
    assert np.allclose(weights.toarray() @ values, np.diff(integral) / widths, atol=1e-4)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)


def test_a_picture_of_one_colour_keeps_it() -> None:
    picture = np.full((37, 23, 3), (7, 130, 255), np.uint8)
    rows = lay_areas(np.linspace(0, 37, 11), 0, 37)
    columns = lay_areas(np.linspace(0.25, 22.5, 6), 0, 23)
    averaged = average_areas(picture, rows, columns, ThreadMemory(np.float32))
    assert averaged.shape == (10, 5, 3)
    assert (averaged == (7, 130, 255)).all()


@pytest.mark.parametrize("step", [2, 3, 4, 8, 16, 32])
def test_areas_of_whole_pixels_are_averaged_as_any_others_bit_for_bit(step: int) -> None:
    picture = np.random.default_rng(step).integers(0, 256, (5 * step, 70 * step, 3), dtype=np.uint8)
    rows, columns = (lay_areas(np.arange(0.0, n + 1, step), 0, n) for n in picture.shape[:2])
    assert (rows.pixels, columns.pixels) == ((step, step) if step >= 4 else (0, 0))
    memory = ThreadMemory(np.float32)
    either, other = (average_areas(picture, each, columns, memory) for each in (rows, replace(rows, pixels=0)))
    assert np.array_equal(either, other)


@pytest.mark.parametrize("edges", [[0, 4, 8.000001], [1, 5, 9], [0, 4, 9], [0, 4]])
def test_areas_that_are_not_all_of_whole_pixels_at_hand_are_seen(edges: list[float]) -> None:
    assert lay_areas(np.array(edges, np.float64), 0, 8).pixels == 0
