"""Patients: who is in the store, and all patches of one of them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.catalog import Catalog
from bcd.store.labels import latest_labels

if TYPE_CHECKING:
    import pandas as pd


def patient_patches(
    settings: Settings,  # noqa: ARG001 - object storage will need it
    catalog: Catalog,
    hospital: Hospital,
    patient: PatientId,
) -> pd.DataFrame:
    """Returns all patches of one patient in canonical order (slide, y, x).

    Returns:
        Columns hospital, patient, slide, x, y, label (Int8, NA = unlabelled), batch, row.

    Raises:
        BcdError: The store has no such patient.
    """
    import pandas as pd

    labels = latest_labels().subquery()
    columns = ("hospital", "patient", "slide", "x", "y", "label")
    query = (
        sa.select(*(labels.c[name] for name in columns), tables.batches.c.id.label("batch"), labels.c.row)
        .join(tables.batches, tables.batches.c.number == labels.c.batch)
        .where(labels.c.hospital == hospital, labels.c.patient == patient)
        .order_by(labels.c.slide, labels.c.y, labels.c.x)
    )
    with catalog.engine.connect() as connection:
        patches = pd.DataFrame(connection.execute(query).all(), columns=[*columns, "batch", "row"])
    if patches.empty:
        raise _unknown(catalog, patient, hospital)
    return patches.astype({"label": "Int8"})


def list_patients(catalog: Catalog) -> pd.DataFrame:
    """Returns every patient with counts of patches.

    Returns:
        Columns hospital, patient, patches, labelled, positive, ordered by hospital and patient.
    """
    import pandas as pd

    labels = latest_labels().subquery()
    query = (
        sa.select(
            labels.c.hospital,
            labels.c.patient,
            sa.func.count().label("patches"),
            sa.func.count(labels.c.label).label("labelled"),
            sa.func.coalesce(sa.func.sum(labels.c.label), 0).label("positive"),
        )
        .group_by(labels.c.hospital, labels.c.patient)
        .order_by(labels.c.hospital, labels.c.patient)
    )
    with catalog.engine.connect() as connection:
        rows = connection.execute(query).all()
    return pd.DataFrame(rows, columns=["hospital", "patient", "patches", "labelled", "positive"])


def find_hospital(catalog: Catalog, patient: PatientId, hospital: str | None) -> Hospital:
    """Returns the hospital of a patient that was named with or without it.

    Raises:
        BcdError: No hospital has such a patient, or several have and none was named.
    """
    known = tables.patients.c
    query = sa.select(known.hospital).where(known.patient == patient).order_by(known.hospital)
    with catalog.engine.connect() as connection:
        hospitals = list(connection.scalars(query))
    if hospital is not None:
        if hospital not in hospitals:
            raise _unknown(catalog, patient, hospital)
        return Hospital(hospital)
    if not hospitals:
        raise _unknown(catalog, patient, None)
    if len(hospitals) > 1:
        raise BcdError(
            f"Patient {patient} is a different person in each of these hospitals: {', '.join(hospitals)}.",
            "Name the hospital too, with --hospital.",
        )
    return Hospital(hospitals[0])


def _unknown(catalog: Catalog, patient: str, hospital: str | None) -> BcdError:
    known = tables.patients.c
    query = sa.select(known.patient).distinct()
    if hospital is not None:
        query = query.where(known.hospital == hospital)
    with catalog.engine.connect() as connection:
        near = get_close_matches(patient, connection.scalars(query).all(), n=3)
    where = "in the store" if hospital is None else f"of hospital {hospital} in the store"
    mend = f"Near ones are {', '.join(near)}." if near else "Admit a delivery that holds the patient first."
    return BcdError(f"There is no patient {patient} {where}.", mend)
