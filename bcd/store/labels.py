"""Labels as they stand now: the latest revision of a patch's label, or else what it was delivered with."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bcd.store import tables


def latest_labels() -> sa.Select[Any]:
    """Returns the query for all patches with their labels as they stand.

    Columns hospital, patient, slide, x, y, label (0, 1, null), batch (its number), row, pixel_sha256.
    A revision to null takes a label back.
    """
    patches, revisions = tables.patches, tables.label_revisions
    cell = ("hospital", "patient", "slide", "x", "y")
    newest = (
        sa.select(*(revisions.c[name] for name in cell), sa.func.max(revisions.c.number).label("number"))
        .group_by(*(revisions.c[name] for name in cell))
        .subquery()
    )
    label = sa.case((revisions.c.number.is_not(None), revisions.c.label), else_=patches.c.label)
    return (
        sa.select(
            *(patches.c[name] for name in cell),
            label.label("label"),
            patches.c.batch,
            patches.c.row,
            patches.c.pixel_sha256,
        )
        .outerjoin(newest, sa.and_(*(newest.c[name] == patches.c[name] for name in cell)))
        .outerjoin(revisions, revisions.c.number == newest.c.number)
    )
