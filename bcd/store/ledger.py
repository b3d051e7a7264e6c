"""The ledger: which patient was scored with which bundle, when, and what became of it; append-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from bcd.patches import Hospital, PatientId
from bcd.store import tables
from bcd.store.store import Store

_COLUMNS = [column for column in tables.ledger.c if column.name != "number"]


@dataclass(frozen=True)
class LedgerEntry:
    """One attempt to score a patient.

    Attributes:
        hospital: Where the patient is from.
        patient: Who was scored.
        bundle: What with, as "bcd-idc/3".
        content: Hash of the patient's patches as they were.
        status: `scored` or `failed`.
        at: When it ended, in UTC.
        folder: Where the result lies, relative to BCD_HOME.
        error: What went wrong, where it failed.
    """

    hospital: Hospital
    patient: PatientId
    bundle: str
    content: str
    status: Literal["scored", "failed"]
    at: datetime
    folder: str
    error: str | None = None


def record_in_ledger(store: Store, entry: LedgerEntry) -> None:
    """Appends an entry."""
    with store.write() as connection:
        connection.execute(sa.insert(tables.ledger).values(**vars(entry)))


def find_in_ledger(
    store: Store, hospital: Hospital, patient: PatientId, bundle: str, content: str
) -> LedgerEntry | None:
    """Returns the latest entry that says this patient, with these patches, was scored with this bundle."""
    column = tables.ledger.c
    return _find_scoring(store, hospital, patient, column.bundle == bundle, column.content == content)


def find_last_scoring(store: Store, hospital: Hospital, patient: PatientId) -> LedgerEntry | None:
    """Returns the latest entry that says this patient was scored, with whatever bundle."""
    return _find_scoring(store, hospital, patient)


def _find_scoring(
    store: Store, hospital: Hospital, patient: PatientId, *conditions: sa.ColumnElement[bool]
) -> LedgerEntry | None:
    column = tables.ledger.c
    query = (
        sa.select(*_COLUMNS)
        .where(column.hospital == hospital, column.patient == patient, column.status == "scored", *conditions)
        .order_by(column.number.desc())
        .limit(1)
    )
    return next((LedgerEntry(**row._mapping) for row in store.rows(query)), None)


def list_ledger(store: Store, limit: int | None = None) -> list[LedgerEntry]:
    """Returns the newest entries first, at most `limit` of them."""
    query = sa.select(*_COLUMNS).order_by(tables.ledger.c.number.desc()).limit(limit)
    return [LedgerEntry(**row._mapping) for row in store.rows(query)]
