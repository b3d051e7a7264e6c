from __future__ import annotations

import numpy as np
import pytest

from bcd.store.areas import Polygon, share_of_cells_covered

GRID = np.meshgrid(np.arange(6), np.arange(5))
COLUMNS, ROWS = GRID[0].ravel(), GRID[1].ravel()


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]], float)


def measure(*polygons: Polygon, wanted=lambda inside: inside("a")) -> np.ndarray:
    """Returns the shares of a grid of 5 rows and 6 columns."""
    return share_of_cells_covered(polygons, COLUMNS, ROWS, wanted).reshape(5, 6)


def overlap(low: float, high: float, n: int) -> np.ndarray:
    return np.clip(np.minimum(high, np.arange(n) + 1) - np.maximum(low, np.arange(n)), 0, 1)


@pytest.mark.parametrize(
    "corners",
    [(1, 1, 3, 2), (0.3, 0.25, 4.61, 3.777), (2.1, 2.2, 2.4, 2.9), (-5, -5, 20, 20), (-3, 1.005, 0.5, 1.02)],
)
def test_rectangles_come_out_to_a_percent(corners) -> None:
    left, top, right, bottom = corners
    expected = np.outer(overlap(top, bottom, 5), overlap(left, right, 6))
    np.testing.assert_allclose(measure(Polygon("a", [box(*corners)])), expected, atol=0.01)


def test_edges_on_the_grid_are_exact() -> None:
    expected = np.outer(overlap(1, 3, 5), overlap(2, 5, 6))
    assert np.array_equal(measure(Polygon("a", [box(2, 1, 5, 3)])), expected)


def test_slanted_edges_of_any_orientation_with_or_without_the_last_point_again() -> None:
    triangle = np.array([[0, 0], [2, 0], [0, 2]], float)
    for ring in (triangle, triangle[::-1], np.vstack([triangle, triangle[:1]])):
        shares = measure(Polygon("a", [ring]))
        np.testing.assert_allclose(shares[:2, :2], [[1, 0.5], [0.5, 0]], atol=0.005)
        assert shares.sum() == pytest.approx(2, abs=0.01)


def test_a_hole_is_not_covered_and_what_is_within_it_may_be() -> None:
    shares = measure(Polygon("a", [box(0, 0, 6, 5), box(1, 1, 4, 4)]), Polygon("a", [box(2, 2, 3, 3)]))
    assert shares[0].tolist() == [1] * 6
    assert shares[2].tolist() == [1, 0, 1, 0, 1, 1]


def test_areas_of_one_kind_that_overlap_count_once_and_kinds_combine() -> None:
    one, other = Polygon("a", [box(0, 0, 2, 1)]), Polygon("a", [box(0.5, 0, 1.5, 1)])
    assert measure(one, other)[0, :3].tolist() == pytest.approx([1, 1, 0])
    ignored = Polygon("b", [box(0, 0, 0.25, 1)])
    left = measure(one, ignored, other, wanted=lambda inside: inside("a") & ~inside("b"))
    assert left[0, :3].tolist() == pytest.approx([0.75, 1, 0])


def test_any_outline_agrees_with_counting_points() -> None:
    from matplotlib.path import Path

    random = np.random.default_rng(3)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radius = 1.6 + random.normal(0, 0.2, 60)
    ring = np.stack([3 + radius * np.cos(angles), 2.5 + radius * np.sin(angles)], axis=1)
    across, down = (np.arange(n * 200) / 200 + 0.0025 for n in (6, 5))
    points = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    inside = Path(ring).contains_points(points).reshape(5, 200, 6, 200)
    np.testing.assert_allclose(measure(Polygon("a", [ring])), inside.mean(axis=(1, 3)), atol=0.01)


def test_nothing_is_covered_where_nothing_is_drawn() -> None:
    assert not measure().any()
    assert not measure(Polygon("a", [box(50, 50, 60, 60)])).any()
