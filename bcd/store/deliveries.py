"""What became of each delivery: its counts, its batch, its refusals; and what earlier deliveries brought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import sqlalchemy as sa

from bcd.patches import BatchId, Hospital
from bcd.store import tables
from bcd.store.catalog import Catalog

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 5000
"""Rows of one bulk insert."""

LOOKUP = 500
"""Values of one `IN (...)`; SQLite takes 32,766, older ones 999."""

_VALUES: sa.BindParameter[str] = sa.bindparam("values", expanding=True)

T = TypeVar("T")


@dataclass(frozen=True)
class DeliveryRecord:
    """A delivery that was admitted, whole or in part.

    Attributes:
        id: Hash of hospital, names and bytes.
        hospital: Where it came from.
        name: Name of the folder or archive.
        batch: What its admitted patches became; None where all of them had been admitted before.
        admitted: Number of patches admitted.
        refused: Number of files refused, by rule.
        ignored: Number of files that are an operating system's litter.
        patients: Number of patients admitted patches are of.
        positive: Number of admitted patches labelled 1.
        unlabelled: Number of admitted patches without a label.
    """

    id: str
    hospital: Hospital
    name: str
    batch: BatchId | None
    admitted: int
    refused: dict[str, int]
    ignored: int
    patients: int
    positive: int
    unlabelled: int


@dataclass(frozen=True)
class RefusalRecord:
    """One refused file.

    Attributes:
        name: Its path in the delivery.
        rule: Code of the rule that it broke.
        message: What is wrong, in a sentence.
        sha256: Hash of its bytes.
        kept: Its name in the quarantine; None where its bytes were not kept.
    """

    name: str
    rule: str
    message: str
    sha256: str
    kept: str | None


class KnownPatch(NamedTuple):
    """A patch of an earlier batch, with the label that it was delivered with and the batch's id."""

    hospital: str
    patient: str
    slide: str
    x: int
    y: int
    label: int | None
    pixel_sha256: str
    batch: str


def find_delivery(catalog: Catalog, identity: str) -> DeliveryRecord | None:
    """Returns what became of a delivery, or None where it is new."""
    deliveries, refusals = tables.deliveries, tables.refusals
    with catalog.engine.connect() as connection:
        query = (
            sa.select(deliveries, tables.batches.c.id.label("batch"))
            .outerjoin_from(deliveries, tables.batches)
            .where(deliveries.c.id == identity)
        )
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        counts = connection.execute(
            sa.select(refusals.c.rule, sa.func.count().label("files"))
            .where(refusals.c.delivery == identity)
            .group_by(refusals.c.rule)
            .order_by(refusals.c.rule)
        )
        refused = {row.rule: row.files for row in counts}
    named = {key: value for key, value in row.items() if key != "admitted_at"}
    return DeliveryRecord(**named, refused=refused)


def list_refusals(catalog: Catalog, delivery: str) -> list[RefusalRecord]:
    """Returns the refusals of a delivery, in the order of the files' names."""
    refusals = tables.refusals.c
    query = (
        sa.select(refusals.name, refusals.rule, refusals.message, refusals.sha256, refusals.kept)
        .where(refusals.delivery == delivery)
        .order_by(refusals.name, refusals.number)
    )
    with catalog.engine.connect() as connection:
        return [RefusalRecord(**row) for row in connection.execute(query).mappings()]


def record_delivery(
    catalog: Catalog, record: DeliveryRecord, index: pd.DataFrame, refused: Sequence[RefusalRecord]
) -> None:
    """Enters a delivery, its batch, patches, patients and refusals in one transaction.

    Args:
        catalog: Where to.
        record: The delivery; its batch's folder is already in place.
        index: The batch's index, in canonical order.
        refused: Its refusals.
    """
    with catalog.write() as connection:
        values = {key: value for key, value in vars(record).items() if key not in {"batch", "refused"}}
        connection.execute(sa.insert(tables.deliveries).values(**values, admitted_at=datetime.now(UTC)))
        if record.batch is not None:
            _insert_batch(connection, record, index)
        rows = [{"delivery": record.id, **vars(refusal)} for refusal in refused]
        for chunk in in_chunks(rows, CHUNK):
            connection.execute(sa.insert(tables.refusals), chunk)


def _insert_batch(connection: sa.Connection, record: DeliveryRecord, index: pd.DataFrame) -> None:
    made = connection.execute(
        sa.insert(tables.batches).values(id=record.batch, delivery=record.id).returning(tables.batches.c.number)
    )
    number = made.scalar_one()
    known = set(
        connection.scalars(sa.select(tables.patients.c.patient).where(tables.patients.c.hospital == record.hospital))
    )
    new = sorted(set(index["patient"]) - known)
    if new:
        first = [{"hospital": record.hospital, "patient": one, "first_batch": number} for one in new]
        connection.execute(sa.insert(tables.patients), first)
    columns = ["hospital", "patient", "slide", "x", "y", "label", "pixel_sha256"]
    for start in range(0, len(index), CHUNK):
        part = index.iloc[start : start + CHUNK][columns].astype({"label": object})
        values = part.where(part.notna(), None).assign(batch=number, row=range(start, start + len(part)))
        rows = [dict(zip(values.columns, row, strict=True)) for row in values.itertuples(index=False)]
        connection.execute(sa.insert(tables.patches), rows)


def known_cells(catalog: Catalog, hospital: Hospital, patients: Iterable[str]) -> list[KnownPatch]:
    """Returns the patches that earlier batches hold of these patients."""
    patches = tables.patches.c
    condition = sa.and_(patches.hospital == hospital, patches.patient.in_(_VALUES))
    return _known(catalog, condition, sorted(set(patients)))


def known_pixels(catalog: Catalog, hashes: Iterable[str]) -> list[KnownPatch]:
    """Returns the patches of earlier batches, of any patient, with one of these pixel hashes."""
    return _known(catalog, tables.patches.c.pixel_sha256.in_(_VALUES), sorted(set(hashes)))


def _known(catalog: Catalog, condition: sa.ColumnElement[bool], values: Sequence[str]) -> list[KnownPatch]:
    columns = (tables.patches.c[name] for name in KnownPatch._fields[:-1])
    query = (
        sa.select(*columns, tables.batches.c.id)
        .join_from(tables.patches, tables.batches)
        .where(condition)
        .order_by(tables.batches.c.number, tables.patches.c.row)
    )
    found: list[KnownPatch] = []
    with catalog.engine.connect() as connection:
        for chunk in in_chunks(values, LOOKUP):
            found += (KnownPatch._make(row) for row in connection.execute(query, {"values": chunk}))
    return found


def in_chunks(values: Sequence[T], size: int) -> Iterator[list[T]]:
    """Yields a sequence in lists of at most `size`."""
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
