"""Withdrawals: patients who take their consent back.

From then on they are left out of every new snapshot, their files are refused, and nobody scores them. What is stored
of them already is removed by `bcd patient erase` (`bcd.retention.patients`), which states what remains.

Examples:
    >>> record_withdrawal(store, "8867", hospital="east", sign_off=SignOff("Dr Lee", "a letter"))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from bcd.patches import PERSON, BatchId, Hospital, PatientId, Person, SnapshotId
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.catalog import retry_while_database_away
from bcd.store.objects import in_use, list_stored
from bcd.store.patients import find_patient
from bcd.store.sign_off import SignOff
from bcd.store.store import Store


@dataclass(frozen=True)
class Withdrawal:
    """A patient's withdrawal.

    Attributes:
        hospital: The patient's hospital.
        patient: The patient, by pseudonym where the hospital's identifiers are raw.
        sign_off: Who recorded it, why and when.
    """

    hospital: Hospital
    patient: PatientId
    sign_off: SignOff

    @property
    def person(self) -> Person:
        """Who it is."""
        return self.hospital, self.patient


def record_withdrawal(
    store: Store, patient: str, *, hospital: str | None, sign_off: SignOff
) -> tuple[Withdrawal, bool]:
    """Withdraws a patient; twice is the same as once.

    Args:
        store: The open store.
        patient: The patient; of a raw hospital the pseudonym or the hospital's own identifier.
        hospital: The patient's hospital; may be left out where only one has such a patient.
        sign_off: Who records it, and why.

    Returns:
        The withdrawal, and whether it is new.

    Raises:
        BcdError: There is no such patient.
    """
    place, name = find_patient(store, patient, hospital)
    column = tables.withdrawn.c

    def record() -> tuple[Withdrawal, bool]:
        with store.write() as connection:
            query = sa.select(tables.withdrawn).where(column.hospital == place, column.patient == name)
            row = connection.execute(query).mappings().one_or_none()
            if row is not None:
                return _withdrawal_of_row(row), False
            values = {"hospital": place, "patient": name, **vars(sign_off)}
            connection.execute(sa.insert(tables.withdrawn).values(values))
            return Withdrawal(place, name, sign_off), True

    return retry_while_database_away(record)


def list_withdrawals(store: Store, hospital: Hospital | None = None) -> list[Withdrawal]:
    """Returns the withdrawals of all hospitals, or of one, oldest first."""
    query = sa.select(tables.withdrawn)
    if hospital is not None:
        query = query.where(tables.withdrawn.c.hospital == hospital)
    found = [_withdrawal_of_row(row._mapping) for row in store.rows(query)]
    return sorted(found, key=lambda one: (one.sign_off.at, one.person))


def _withdrawal_of_row(row: sa.RowMapping) -> Withdrawal:
    return Withdrawal(row["hospital"], row["patient"], SignOff.of(row))


def find_snapshots_of_withdrawn(
    settings: Settings, persons: Collection[Person]
) -> dict[Person, dict[SnapshotId, set[BatchId]]]:
    """Finds the snapshots that hold these patients, and the batches that a snapshot's patches of a patient lie in."""
    import pyarrow.parquet as pq

    found: dict[Person, dict[SnapshotId, set[BatchId]]] = {person: {} for person in persons}
    columns = [*PERSON, "batch"]
    for folder in list_stored(settings, settings.snapshots, "[0-9a-f]*"):
        with in_use(settings, folder):
            if not (folder / "patches.parquet").exists():
                continue
            table = pq.read_table(folder / "patches.parquet", columns=columns)
        rows = table.to_pandas().astype("str").drop_duplicates()
        for hospital, patient, batch in rows.itertuples(index=False):
            snapshots = found.get((hospital, patient))
            if snapshots is not None:
                snapshots.setdefault(SnapshotId(folder.name), set()).add(BatchId(batch))
    return found
