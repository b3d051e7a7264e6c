"""What earlier deliveries brought: patches by place and by pixels, and the colours of slides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from bcd.patches import BatchId, Hospital, PatientId, SlideId
from bcd.store import tables
from bcd.store.store import Store

LOOKUP = 500
"""Values of one `IN (...)`; SQLite takes 32,766, older ones 999."""

_VALUES: sa.BindParameter[str] = sa.bindparam("values", expanding=True)

T = TypeVar("T")


class KnownPatch(NamedTuple):
    """A patch of an earlier batch, with its label as it stands, the batch's id, and whether the label was revised."""

    hospital: Hospital
    patient: PatientId
    slide: SlideId
    x: int
    y: int
    label: int | None
    pixel_sha256: str
    batch: BatchId
    revised: bool = False


@dataclass(frozen=True)
class StainRecord:
    """The colour of one slide's admitted patches.

    Attributes:
        patient: Whose slide it is.
        slide: The slide's identifier.
        patches: Number of patches.
        red: Mean optical density of red.
        green: Mean optical density of green.
        blue: Mean optical density of blue.
    """

    patient: PatientId
    slide: SlideId
    patches: int
    red: float
    green: float
    blue: float


def known_slides(store: Store) -> list[StainRecord]:
    """Returns the colours of all slides of earlier batches."""
    columns = (tables.stains.c[name] for name in StainRecord.__dataclass_fields__)
    return [StainRecord(**row._mapping) for row in store.rows(sa.select(*columns))]


def known_cells(store: Store, hospital: Hospital, patients: Iterable[str]) -> list[KnownPatch]:
    """Returns the patches that earlier batches hold of these patients."""
    patches = tables.patches.c
    condition = sa.and_(patches.hospital == hospital, patches.patient.in_(_VALUES))
    return _find_known_patches(store, condition, sorted(set(patients)))


def known_pixels(store: Store, hashes: Iterable[str]) -> list[KnownPatch]:
    """Returns the patches of earlier batches, of any patient, with one of these pixel hashes."""
    return _find_known_patches(store, tables.patches.c.pixel_sha256.in_(_VALUES), sorted(set(hashes)))


def _find_known_patches(store: Store, condition: sa.ColumnElement[bool], values: Sequence[str]) -> list[KnownPatch]:
    columns = (tables.patches.c[name] for name in KnownPatch._fields[:7])
    query = (
        sa.select(*columns, tables.batches.c.id)
        .join_from(tables.patches, tables.batches)
        .where(condition)
        .order_by(tables.batches.c.number, tables.patches.c.row)
    )
    found: list[KnownPatch] = []
    with store.read() as connection:
        for chunk in in_chunks(values, LOOKUP):
            found += (KnownPatch(*row) for row in connection.execute(query, {"values": chunk}))
        revised = _latest_revisions(connection, sorted({known.patient for known in found}))
    return [
        known._replace(label=revised[known[:5]], revised=True) if known[:5] in revised else known for known in found
    ]


def _latest_revisions(connection: sa.Connection, patients: Sequence[str]) -> dict[tuple[object, ...], int | None]:
    """Returns the latest label of every revised patch of these patients, by hospital, patient, slide, x, y."""
    columns = tables.label_revisions.c
    query = (
        sa.select(columns.hospital, columns.patient, columns.slide, columns.x, columns.y, columns.label)
        .where(columns.patient.in_(_VALUES))
        .order_by(columns.number)
    )
    latest: dict[tuple[object, ...], int | None] = {}
    for chunk in in_chunks(patients, LOOKUP):
        for *cell, label in connection.execute(query, {"values": chunk}):
            latest[tuple(cell)] = label
    return latest


def in_chunks(values: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yields a sequence in lists of at most `size`."""
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
