"""Patients: who is in the store, who is withdrawn, and all patches of one of them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.errors import BcdError, NotFoundError, WithdrawnError
from bcd.patches import CELL, PERSON, Hospital, PatientId, Person
from bcd.store import tables
from bcd.store.labels import latest_labels
from bcd.store.pseudonyms import open_pseudonyms
from bcd.store.store import Store

if TYPE_CHECKING:
    import pandas as pd


def list_stored_patches(store: Store, hospital: Hospital, patient: PatientId) -> pd.DataFrame:
    """Returns all patches of one patient in canonical order (slide, y, x).

    Returns:
        Columns hospital, patient, slide, x, y, label (Int8, NA = unlabelled), batch, row.

    Raises:
        BcdError: The store has no such patient, or the patient is withdrawn.
    """
    import pandas as pd

    _require_consent(store, hospital, patient)
    labels = latest_labels().subquery()
    columns = (*CELL, "label")
    query = (
        sa.select(*(labels.c[name] for name in columns), tables.batches.c.id.label("batch"), labels.c.row)
        .join(tables.batches, tables.batches.c.number == labels.c.batch)
        .where(labels.c.hospital == hospital, labels.c.patient == patient)
        .order_by(labels.c.slide, labels.c.y, labels.c.x)
    )
    patches = pd.DataFrame(store.rows(query), columns=[*columns, "batch", "row"])
    if patches.empty:
        raise _unknown_patient(store, patient, hospital)
    return patches.astype({"label": "Int8"})


def list_patients(store: Store) -> pd.DataFrame:
    """Returns every patient with counts of patches.

    Returns:
        Columns hospital, patient, patches, labelled, positive, withdrawn (bool), ordered by hospital and patient.
    """
    import pandas as pd

    labels = latest_labels().subquery()
    query = sa.select(
        labels.c.hospital,
        labels.c.patient,
        sa.func.count().label("patches"),
        sa.func.count(labels.c.label).label("labelled"),
        sa.func.coalesce(sa.func.sum(labels.c.label), 0).label("positive"),
    ).group_by(labels.c.hospital, labels.c.patient)
    with store.read() as connection:
        rows = connection.execute(query).all()
        withdrawn = withdrawn_patients(connection)
    patients = pd.DataFrame(rows, columns=[*PERSON, "patches", "labelled", "positive"])
    mark = [person in withdrawn for person in zip(patients["hospital"], patients["patient"], strict=True)]
    patients["withdrawn"] = pd.Series(mark, dtype="bool")
    # Sorted here: databases differ in how they order text.
    return patients.sort_values(PERSON, ignore_index=True)


def withdrawn_patients(connection: sa.Connection) -> set[Person]:
    """Returns the withdrawn patients, as (hospital, patient)."""
    column = tables.withdrawn.c
    return {(row.hospital, row.patient) for row in connection.execute(sa.select(column.hospital, column.patient))}


def find_hospital(store: Store, patient: PatientId, hospital: str | None) -> Hospital:
    """Returns the hospital of a patient that was named with or without it.

    Raises:
        BcdError: No hospital has such a patient, or several have and none was named.
    """
    known = tables.patients.c
    query = sa.select(known.hospital).where(known.patient == patient)
    hospitals = sorted(row.hospital for row in store.rows(query))
    if hospital is not None:
        if hospital not in hospitals:
            raise _unknown_patient(store, patient, hospital)
        return Hospital(hospital)
    if not hospitals:
        raise _unknown_patient(store, patient, None)
    if len(hospitals) > 1:
        raise BcdError(
            f"Patient {patient} is a different person in each of these hospitals: {', '.join(hospitals)}.",
            "Name the hospital too, with --hospital.",
        )
    return Hospital(hospitals[0])


def find_patient(store: Store, patient: str, hospital: str | None) -> Person:
    """Finds a patient that a person names; of a raw hospital, by the pseudonym or by the hospital's own identifier.

    Raises:
        BcdError: There is no such patient, or in several hospitals and none was named.
    """
    name = PatientId(patient)
    if hospital is not None:
        name = name_stored_patients(store, Hospital(hospital), [patient])[patient]
    return find_hospital(store, name, hospital), name


def name_stored_patients(store: Store, hospital: Hospital, identifiers: Iterable[str]) -> dict[str, PatientId]:
    """Returns how the store calls the patients that a person or a file names.

    Of a raw hospital, what is no patient of the store is taken for the hospital's own identifier.
    """
    pseudonyms = open_pseudonyms(store, hospital)
    if pseudonyms is None:
        return {identifier: PatientId(identifier) for identifier in identifiers}
    query = sa.select(tables.patients.c.patient).where(tables.patients.c.hospital == hospital)
    known = {row.patient for row in store.rows(query)}
    return {one: PatientId(one) if one in known else pseudonyms.patient(one) for one in identifiers}


def _require_consent(store: Store, hospital: Hospital, patient: PatientId) -> None:
    column = tables.withdrawn.c
    query = sa.select(tables.withdrawn).where(column.hospital == hospital, column.patient == patient)
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is not None:
        raise WithdrawnError(
            f"Patient {hospital}/{patient} is withdrawn since {row.at:%Y-%m-%d} (by {row.by}).",
            "Leave the patient out; `bcd patient erase` removes what is stored.",
        )


def _unknown_patient(store: Store, patient: str, hospital: str | None) -> BcdError:
    known = tables.patients.c
    query = sa.select(known.patient).distinct()
    if hospital is not None:
        query = query.where(known.hospital == hospital)
    with store.read() as connection:
        near = get_close_matches(patient, connection.scalars(query).all(), n=3)
    where = "in the store" if hospital is None else f"of hospital {hospital} in the store"
    fix = f"Near ones are {', '.join(near)}." if near else "Admit a delivery that holds the patient first."
    return NotFoundError(f"There is no patient {patient} {where}.", fix)
