"""Covered areas: which share of each cell of a grid polygons cover.

A cell is crossed by 100 lines, along each of which lengths are exact: what is covered comes out to 1 % of a cell,
however a polygon lies, and exactly where its edges lie on the grid. Polygons of one kind that overlap count once.

Examples:
    >>> square = Polygon("positive", [np.array([[0, 0], [1.5, 0], [1.5, 1], [0, 1]])])
    >>> y, x = np.array([0, 1]), np.array([0, 0])
    >>> shares = share_of_cells_covered([square], y, x, lambda inside: inside("positive"))
    >>> shares.tolist()
    [1.0, 0.5]
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LINES = 100
"""Lines across a cell along which is measured."""

Floats = NDArray[np.float64]

Inside = Callable[[Hashable], NDArray[np.bool_]]
"""Tells of each stretch of a line whether it lies within a polygon of a kind."""


@dataclass(frozen=True, eq=False)
class Polygon:
    """An area of some kind.

    Attributes:
        kind: What it is of.
        rings: Its outline and its holes, in cells, each (n, 2); closed or not, of any orientation. What an odd number
            of them surrounds is covered.
    """

    kind: Hashable
    rings: Sequence[Floats]

    def edges(self) -> Floats:
        """Returns the edges as x, y, next x, next y, shape (n, 4)."""
        return np.concatenate([np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in self.rings])


def share_of_cells_covered(
    polygons: Sequence[Polygon],
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    wanted: Callable[[Inside], NDArray[np.bool_]],
) -> Floats:
    """Measures which share of cells is covered.

    Args:
        polygons: Areas of any kinds.
        columns: Columns of the cells, from 0 on, shape (n,).
        rows: Rows of the same.
        wanted: Which combination of kinds counts.

    Returns:
        Shares from 0 to 1, shape (n,).
    """
    shares = np.zeros(len(columns))
    edges = [polygon.edges() for polygon in polygons]
    kinds = [polygon.kind for polygon in polygons]
    width = int(columns.max(initial=0)) + 1
    for row in np.unique(rows):
        here = rows == row
        shares[here] = _measure_row_of_cells(edges, kinds, int(row), columns[here], width, wanted)
    return shares


def _measure_row_of_cells(  # noqa: PLR0917 - inner loop
    edges: Sequence[Floats],
    kinds: Sequence[Hashable],
    row: int,
    columns: NDArray[np.int64],
    width: int,
    wanted: Callable[[Inside], NDArray[np.bool_]],
) -> Floats:
    """Measures cells of one row; its lines are laid end to end, so that one sweep goes along all of them."""
    crossings = [_cross_row_lines(each, row, width) for each in edges]
    places = np.concatenate([np.empty(0), *crossings])
    if not len(places):
        return np.zeros(len(columns))
    # A polygon's crossings, in order, enter and leave it by turns.
    steps = np.concatenate([np.resize([1, -1], len(each)) for each in crossings])
    of = np.concatenate([np.full(len(each), number) for number, each in enumerate(crossings)])
    order = np.argsort(places, kind="stable")
    places, steps, of = places[order], steps[order], of[order]

    def inside(kind: Hashable) -> NDArray[np.bool_]:
        is_kind = np.array([one == kind for one in kinds])[of]
        return np.asarray(np.cumsum(steps * is_kind)[:-1] > 0)

    lengths = np.concatenate([[0.0], np.cumsum(np.diff(places) * wanted(inside))])
    starts = columns[:, None] + np.arange(LINES) * (width + 1)
    found = np.interp(starts + 1, places, lengths) - np.interp(starts, places, lengths)
    return np.asarray(found.mean(axis=1))


def _cross_row_lines(edges: Floats, row: int, width: int) -> Floats:
    """Returns where edges cross the lines of a row, the lines laid end to end with a gap of one cell, ascending."""
    x, y, next_x, next_y = edges[(edges[:, [1, 3]].min(1) < row + 1) & (edges[:, [1, 3]].max(1) > row)].T
    lines = row + (np.arange(LINES) + 0.5) / LINES
    edge, line = np.nonzero((y[:, None] <= lines) != (next_y[:, None] <= lines))
    slope = (next_x[edge] - x[edge]) / (next_y[edge] - y[edge])
    at = np.clip(x[edge] + (lines[line] - y[edge]) * slope, 0, width)
    return np.sort(at + line * (width + 1.0))
