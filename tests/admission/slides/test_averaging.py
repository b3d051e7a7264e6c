from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bcd.admission.slides.tiling import area_weights, average_areas


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
    weights = area_weights(edges.astype(np.float64), low, high)
    assert np.allclose(weights.toarray() @ values, np.diff(integral) / widths, atol=1e-4)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)


def test_a_picture_of_one_colour_keeps_it() -> None:
    picture = np.full((37, 23, 3), (7, 130, 255), np.uint8)
    rows = area_weights(np.linspace(0, 37, 11), 0, 37)
    columns = area_weights(np.linspace(0.25, 22.5, 6), 0, 23)
    averaged = average_areas(picture, rows, columns)
    assert averaged.shape == (10, 5, 3)
    assert (averaged == (7, 130, 255)).all()
