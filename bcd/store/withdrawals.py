"""Withdrawals: patients who take their consent back.

From then on they are left out of every new snapshot, their files are refused, and nobody scores them. What is stored
of them already is removed by `bcd patient erase` (`bcd.retention.patients`), which states what remains.

Examples:
    >>> withdraw(store, "8867", hospital="east", author="Dr Lee", reason="a letter")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from bcd.patches import PERSON, BatchId, Hospital, PatientId, SnapshotId
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.catalog import patiently
from bcd.store.patients import find_patient
from bcd.store.revisions import require_signature
from bcd.store.store import Store

Person = tuple[Hospital, PatientId]
"""A patient: hospital and identifier."""


@dataclass(frozen=True)
class Withdrawal:
    """A patient's withdrawal.

    Attributes:
        hospital: The patient's hospital.
        patient: The patient, by pseudonym where the hospital's identifiers are raw.
        withdrawn_at: When it was recorded, in UTC.
        author: Who recorded it.
        reason: Why.
    """

    hospital: Hospital
    patient: PatientId
    withdrawn_at: datetime
    author: str
    reason: str

    @property
    def person(self) -> Person:
        """Who it is."""
        return self.hospital, self.patient


def withdraw(
    store: Store, patient: str, *, hospital: str | None, author: str, reason: str
) -> tuple[Withdrawal, bool]:
    """Withdraws a patient; twice is the same as once.

    Args:
        store: The open store.
        patient: The patient; of a raw hospital the pseudonym or the hospital's own identifier.
        hospital: The patient's hospital; may be left out where only one has such a patient.
        author: Who records it.
        reason: Why.

    Returns:
        The withdrawal, and whether it is new.

    Raises:
        BcdError: There is no such patient, or author or reason is missing.
    """
    require_signature(author, reason)
    place, name = find_patient(store, patient, hospital)
    column = tables.withdrawn.c

    def record() -> tuple[Withdrawal, bool]:
        with store.write() as connection:
            query = sa.select(tables.withdrawn).where(column.hospital == place, column.patient == name)
            row = connection.execute(query).mappings().one_or_none()
            if row is not None:
                return Withdrawal(**row), False
            made = Withdrawal(place, name, datetime.now(UTC), author, reason)
            connection.execute(sa.insert(tables.withdrawn).values(**vars(made)))
            return made, True

    return patiently(record)


def list_withdrawals(store: Store, hospital: Hospital | None = None) -> list[Withdrawal]:
    """Returns the withdrawals of all hospitals, or of one, oldest first."""
    query = sa.select(tables.withdrawn)
    if hospital is not None:
        query = query.where(tables.withdrawn.c.hospital == hospital)
    with store.read() as connection:
        rows = connection.execute(query).mappings().all()
    return sorted((Withdrawal(**row) for row in rows), key=lambda one: (one.withdrawn_at, one.person))


def find_snapshots(settings: Settings, persons: Collection[Person]) -> dict[Person, dict[SnapshotId, set[BatchId]]]:
    """Finds the snapshots that hold these patients, and the batches that a snapshot's patches of a patient lie in."""
    import pyarrow.parquet as pq

    found: dict[Person, dict[SnapshotId, set[BatchId]]] = {person: {} for person in persons}
    columns = [*PERSON, "batch"]
    for path in sorted(settings.snapshots.glob("[0-9a-f]*/patches.parquet")):
        rows = pq.read_table(path, columns=columns).to_pandas().astype("str").drop_duplicates()
        for hospital, patient, batch in rows.itertuples(index=False):
            snapshots = found.get((hospital, patient))
            if snapshots is not None:
                snapshots.setdefault(SnapshotId(path.parent.name), set()).add(BatchId(batch))
    return found
