"""Frames: where the patches of a slide lie in the pixels of its finest level, as a viewer of slides counts them.

bcd knows the frame of a slide that it cut into patches itself. Of patches that were delivered as such it knows none,
and counts in their own pixels, `PATCH_FRAME`.

Examples:
    >>> Frame(0.5, 0.5, left=0, top=0).corners([51], [1]).tolist()
    [[400.0, 0.0]]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import ArrayLike, NDArray

from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS, Hospital, PatientId, SlideId
from bcd.store import tables
from bcd.store.store import Store


class Frame(NamedTuple):
    """How pixels of a slide's finest level (level 0) and patches lie to each other.

    Attributes:
        spacing_x: Spacing of level 0 along x, in µm per pixel.
        spacing_y: Spacing along y.
        left: Column of level 0 at which viewers begin to count: some files say that less than all was scanned.
        top: Row of the same.
    """

    spacing_x: float
    spacing_y: float
    left: int
    top: int

    @property
    def step(self) -> NDArray[np.float64]:
        """Edges of a patch in pixels of level 0, along x and y."""
        return PATCH_PIXELS * MICRONS_PER_PIXEL / np.array([self.spacing_x, self.spacing_y])

    def corners(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Returns the upper left corners of patches, in a viewer's pixels, shape (n, 2).

        Args:
            x: Columns of patches as their names say them, counted from 1, shape (n,).
            y: Rows of the same.
        """
        places = (np.stack([np.asarray(x), np.asarray(y)], axis=1) - 1) / PATCH_PIXELS
        return np.asarray(places * self.step - np.array([self.left, self.top]))

    def in_patches(self, points: ArrayLike) -> NDArray[np.float64]:
        """Returns where points in a viewer's pixels, shape (n, 2), lie on the grid; a patch is 1 wide and high."""
        return np.asarray((np.asarray(points, np.float64) + np.array([self.left, self.top])) / self.step)


PATCH_FRAME = Frame(MICRONS_PER_PIXEL, MICRONS_PER_PIXEL, 0, 0)
"""A patch's own pixels, counted from 0, for slides whose frame is not known."""


class SlideFrame(NamedTuple):
    """The frame of a slide of a delivery."""

    patient: PatientId
    slide: SlideId
    frame: Frame


def find_stored_frame(store: Store, hospital: Hospital, patient: PatientId, slide: SlideId) -> Frame | None:
    """Returns the frame of a slide; None where bcd did not cut it itself."""
    table = tables.slide_frames.c
    query = sa.select(*(table[name] for name in Frame._fields)).where(
        table.hospital == hospital, table.patient == patient, table.slide == slide
    )
    return next((Frame(*row) for row in store.rows(query)), None)


def store_frames(connection: sa.Connection, hospital: Hospital, batch: int, frames: Iterable[SlideFrame]) -> None:
    """Enters frames of a batch's slides. What is known stays; files of one slide that differ say nothing."""
    found: dict[tuple[PatientId, SlideId], set[Frame]] = {}
    for each in frames:
        found.setdefault((each.patient, each.slide), set()).add(each.frame)
    table = tables.slide_frames
    query = sa.select(table.c.patient, table.c.slide).where(table.c.hospital == hospital)
    known = {tuple(row) for row in connection.execute(query)}
    rows = [
        {"hospital": hospital, "patient": patient, "slide": slide, "batch": batch, **said.pop()._asdict()}
        for (patient, slide), said in found.items()
        if len(said) == 1 and (patient, slide) not in known
    ]
    if rows:
        connection.execute(sa.insert(table), rows)
