"""Conflicts: doubts about admitted patches that a later delivery raised, until a human's word settles them.

A batch never changes, so the doubt is a row beside it. A snapshot leaves out a patch with an open conflict; a label
revision that is younger than the conflict settles it.

Examples:
    >>> [conflict.message for conflict in list_conflicts(store) if conflict.is_open]  # doctest: +SKIP
    ['8867_idx5_x1_y51 has the pixels of 8867_idx5_x51_y51 and another label.']
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bcd.patches import CELL, Hospital, PatientId, SlideId
from bcd.store import tables
from bcd.store.labels import match_patch_rows
from bcd.store.store import Store


@dataclass(frozen=True)
class Conflict:
    """A doubt about an admitted patch.

    Attributes:
        hospital: The patch's hospital.
        patient: The patch's patient.
        slide: The patch's slide.
        x: The patch's column on the slide, counted from 1.
        y: The patch's row on the slide, counted from 1.
        rule: Code of the rule that another file broke together with it.
        delivery: The delivery that raised the doubt.
        message: What is wrong, in a sentence.
        found_at: When, in UTC.
        is_open: Whether no label revision has settled it since.
    """

    hospital: Hospital
    patient: PatientId
    slide: SlideId
    x: int
    y: int
    rule: str
    delivery: str
    message: str
    found_at: datetime
    is_open: bool


def open_conflicts() -> sa.Select[Any]:
    """Returns the query for the patches that are in doubt: hospital, patient, slide, x, y, each patch once."""
    conflicts = tables.conflicts
    return sa.select(*(conflicts.c[name] for name in CELL)).where(~_is_settled()).distinct()


def list_conflicts(store: Store, delivery: str | None = None, limit: int | None = None) -> list[Conflict]:
    """Returns conflicts, settled ones too, oldest first: all, or the first ones that a delivery raised."""
    columns = [column for column in tables.conflicts.c if column.name != "number"]
    query = sa.select(*columns, (~_is_settled()).label("is_open")).order_by(tables.conflicts.c.number).limit(limit)
    if delivery is not None:
        query = query.where(tables.conflicts.c.delivery == delivery)
    return [Conflict(**{**row._mapping, "is_open": bool(row.is_open)}) for row in store.rows(query)]


def _is_settled() -> sa.ColumnElement[bool]:
    conflicts, revisions = tables.conflicts, tables.label_revisions
    return (
        sa.exists()
        .where(match_patch_rows(revisions, conflicts), revisions.c.at > conflicts.c.found_at)
        .correlate(conflicts)
    )
