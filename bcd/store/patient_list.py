"""The patients in the store as a list: their split, their patches, and what they were scored with last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.patches import Hospital, PatientId
from bcd.store import tables
from bcd.store.labels import latest_labels, match_patient_rows
from bcd.store.ledger import last_scored

if TYPE_CHECKING:
    from bcd.store.store import Store


@dataclass(frozen=True)
class PatientSummary:
    """A patient in a list.

    Attributes:
        hospital: Where the patient is from.
        patient: The identifier there.
        split: The split under the protocol; empty: not dealt yet.
        patches: Number of patches.
        labelled: How many of them have a label.
        positive: How many of them are labelled 1.
        withdrawn: Whether the patient is withdrawn.
        bundle: What the patient was scored with last; empty: never scored.
        scored_at: When, in UTC.
    """

    hospital: Hospital
    patient: PatientId
    split: str
    patches: int
    labelled: int
    positive: int
    withdrawn: bool
    bundle: str
    scored_at: datetime | None


def list_patient_names(store: Store, beginning: str, limit: int = 100) -> list[str]:
    """Returns the first patients whose identifier begins so, each once."""
    column = tables.patients.c.patient
    query = sa.select(column).where(column.startswith(beginning, autoescape=True)).distinct().order_by(column)
    with store.read() as connection:
        return list(connection.scalars(query.limit(limit)))


def find_patients(
    store: Store, protocol: str, *, hospital: str = "", split: str = "", scored: bool | None = None
) -> list[PatientSummary]:
    """Finds patients, ordered by hospital and identifier.

    Args:
        store: Where they are.
        protocol: The protocol whose splits are meant, as the catalog calls it.
        hospital: Only of this one; empty: of all.
        split: Only of this one; empty: of all, and those not dealt yet.
        scored: Only those who were scored, or only those who never were; None: both.
    """
    labels, dealt, gone, ledger = latest_labels().subquery(), tables.splits, tables.withdrawn, tables.ledger
    known = tables.patients
    last = last_scored()
    counts = (
        sa.select(
            labels.c.hospital,
            labels.c.patient,
            sa.func.count().label("patches"),
            sa.func.count(labels.c.label).label("labelled"),
            sa.func.coalesce(sa.func.sum(labels.c.label), 0).label("positive"),
        )
        .group_by(labels.c.hospital, labels.c.patient)
        .subquery()
    )
    query = (
        sa.select(
            known.c.hospital,
            known.c.patient,
            sa.func.coalesce(dealt.c.split, "").label("split"),
            sa.func.coalesce(counts.c.patches, 0).label("patches"),
            sa.func.coalesce(counts.c.labelled, 0).label("labelled"),
            sa.func.coalesce(counts.c.positive, 0).label("positive"),
            gone.c.at.is_not(None).label("withdrawn"),
            sa.func.coalesce(ledger.c.bundle, "").label("bundle"),
            ledger.c.at.label("scored_at"),
        )
        .outerjoin_from(known, counts, match_patient_rows(known, counts))
        .outerjoin(dealt, sa.and_(match_patient_rows(known, dealt), dealt.c.protocol == protocol))
        .outerjoin(gone, match_patient_rows(known, gone))
        .outerjoin(last, match_patient_rows(known, last))
        .outerjoin(ledger, ledger.c.number == last.c.number)
    )
    if hospital:
        query = query.where(known.c.hospital == hospital)
    if split:
        query = query.where(dealt.c.split == split)
    if scored is not None:
        query = query.where(last.c.number.is_not(None) if scored else last.c.number.is_(None))
    found = [PatientSummary(**row._mapping) for row in store.rows(query)]
    # Sorted here: databases differ in how they order text.
    return sorted(found, key=lambda each: (each.hospital, each.patient))
