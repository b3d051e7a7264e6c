"""Labels as they stand now: the latest revision of a patch's label, or else what it was delivered with."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bcd.patches import CELL, PERSON
from bcd.store import tables


def latest_labels() -> sa.Select[Any]:
    """Returns the query for all patches with their labels as they stand.

    Columns hospital, patient, slide, x, y, label (0, 1, null), batch (its number), row, pixel_sha256.
    A revision to null takes a label back.
    """
    patches, revisions = tables.patches, tables.label_revisions
    # Not by GROUP BY, through which a filter on the patient would not reach the index.
    newer = revisions.alias("newer")
    superseded = sa.exists().where(match_patch_rows(newer, revisions), newer.c.number > revisions.c.number)
    label = sa.case((revisions.c.number.is_not(None), revisions.c.label), else_=patches.c.label)
    return sa.select(
        *(patches.c[name] for name in CELL),
        label.label("label"),
        patches.c.batch,
        patches.c.row,
        patches.c.pixel_sha256,
    ).outerjoin_from(patches, revisions, sa.and_(match_patch_rows(revisions, patches), ~superseded))


def match_patch_rows(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    """Returns the condition that two tables speak of the same patch."""
    return sa.and_(*(one.c[name] == other.c[name] for name in CELL))


def match_patient_rows(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    """Returns the condition that two tables speak of the same patient."""
    return sa.and_(*(one.c[name] == other.c[name] for name in PERSON))
