"""The ledger: which patient was scored with which bundle, when, and what became of it; append-only.

An attempt is entered when it begins and again when it ends. One that only began is under way, or its process was
killed or ran out of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Literal

import sqlalchemy as sa

from bcd.patches import Hospital, PatientId, Person
from bcd.store import tables
from bcd.store.labels import match_patient_rows
from bcd.store.store import Store

MOST_ATTEMPTS = 3
"""After so many attempts in a row that only began, the same patches are tried again only where a person asks."""

UNENDED = "It is being scored, or the process was killed or ran out of memory while it was."
"""What is said of an attempt that only began."""

_COLUMNS = [column for column in tables.ledger.c if column.name != "number"]


@dataclass(frozen=True)
class LedgerEntry:
    """One attempt to score a patient.

    Attributes:
        hospital: Where the patient is from.
        patient: Who was scored.
        bundle: What with, as "bcd-idc/3".
        content: Hash of the patient's patches as they were.
        status: `started`, and at its end `scored` or `failed`.
        at: When it began or ended, in UTC.
        folder: Where the result lies, relative to BCD_HOME.
        error: What went wrong, where it failed.
    """

    hospital: Hospital
    patient: PatientId
    bundle: str
    content: str
    status: Literal["started", "scored", "failed"]
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
    """Returns the newest ends of attempts first, at most `limit` of them."""
    column = tables.ledger.c
    query = sa.select(*_COLUMNS).where(column.status != "started").order_by(column.number.desc()).limit(limit)
    return [LedgerEntry(**row._mapping) for row in store.rows(query)]


@dataclass(frozen=True)
class Failing:
    """A patient whose last attempt to be scored did not succeed.

    Attributes:
        hospital: Where the patient is from.
        patient: Who it is.
        bundle: What the last attempt was made with.
        content: Hash of the patient's patches at the last attempt.
        attempts: Attempts since the patient was scored last.
        unended: How many of the last ones, with these patches and this bundle, only began.
        since: When the first of them began or failed, in UTC.
        at: When the last one began or failed, in UTC.
        error: What went wrong with the last one.
    """

    hospital: Hospital
    patient: PatientId
    bundle: str
    content: str
    attempts: int
    unended: int
    since: datetime
    at: datetime
    error: str

    @property
    def is_given_up(self) -> bool:
        """Whether it is tried again only where a person asks."""
        return self.unended >= MOST_ATTEMPTS


def last_scored() -> sa.Subquery:
    """Returns the number of each scored patient's last successful entry: number, hospital, patient."""
    ledger = tables.ledger
    return (
        sa.select(sa.func.max(ledger.c.number).label("number"), ledger.c.hospital, ledger.c.patient)
        .where(ledger.c.status == "scored")
        .group_by(ledger.c.hospital, ledger.c.patient)
        .subquery()
    )


def list_failing(store: Store) -> list[Failing]:
    """Returns the patients whose last attempt did not succeed, the newest first; none who withdrew."""
    ledger, gone = tables.ledger, tables.withdrawn
    last = last_scored()
    query = (
        sa.select(*_COLUMNS)
        .outerjoin_from(ledger, last, match_patient_rows(ledger, last))
        .outerjoin(gone, match_patient_rows(ledger, gone))
        .where(ledger.c.number > sa.func.coalesce(last.c.number, 0), gone.c.patient.is_(None))
        .order_by(ledger.c.number)
    )
    by_patient: dict[Person, list[LedgerEntry]] = {}
    for row in store.rows(query):
        by_patient.setdefault((row.hospital, row.patient), []).append(LedgerEntry(**row._mapping))
    found = [_summarise_failing(entries) for entries in by_patient.values()]
    return sorted(found, key=lambda one: one.at, reverse=True)


def _summarise_failing(entries: list[LedgerEntry]) -> Failing:
    newest = entries[-1]

    def is_unended(entry: LedgerEntry) -> bool:
        return (entry.status, entry.bundle, entry.content) == ("started", newest.bundle, newest.content)

    return Failing(
        hospital=newest.hospital,
        patient=newest.patient,
        bundle=newest.bundle,
        content=newest.content,
        attempts=sum(one.status == "started" for one in entries),
        unended=len(list(takewhile(is_unended, reversed(entries)))),
        since=entries[0].at,
        at=newest.at,
        error=newest.error or UNENDED,
    )
