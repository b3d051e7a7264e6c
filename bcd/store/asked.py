"""Labels that were asked for: a model's scores chose the patch, and a person says its label.

Such a label trains and never evaluates. Were it to count among val, gate or test patients, the model's own doubts
would choose what it is evaluated on: of the patches that it finds hard many would be labelled, of its confident
errors the labels would be corrected towards it. So only patients are asked about whose split is train under every
protocol that dealt them, and a protocol that deals them later makes them train too, or keeps them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from bcd.patches import CELL, Person
from bcd.store import tables
from bcd.store.label_files import refuse_label_faults

if TYPE_CHECKING:
    import pandas as pd


def asked_patches() -> sa.Select[Any]:
    """Returns the query for the patches that a person answered about: hospital, patient, slide, x, y, each once."""
    columns = tables.label_revisions.c
    return sa.select(*(columns[name] for name in CELL)).where(columns.asked).distinct()


def read_asked_patients(connection: sa.Connection) -> set[Person]:
    """Returns the patients, as (hospital, patient), one of whose labels was asked for."""
    columns = tables.label_revisions.c
    return set(
        connection.execute(sa.select(columns.hospital, columns.patient).where(columns.asked).distinct()).tuples()
    )


def read_dealt_patients(connection: sa.Connection) -> dict[Person, str]:
    """Returns how patients, by (hospital, patient), were dealt by every protocol together.

    Returns:
        `train` for those who may be asked about; of the others the split that forbids it; nothing of those who have
        no split.
    """
    columns = tables.splits.c
    found: dict[Person, str] = {}
    for hospital, patient, split in connection.execute(sa.select(columns.hospital, columns.patient, columns.split)):
        if split != "train" or (hospital, patient) not in found:
            found[hospital, patient] = split
    return found


def refuse_evaluated_patients(connection: sa.Connection, name: str, rows: pd.DataFrame) -> None:
    """Refuses answers about patients who may not be asked about.

    Args:
        connection: Of the transaction that is to enter them.
        name: Of the file that they are from.
        rows: line, hospital and patient of each.

    Raises:
        BcdError: There is such a patient; the lines are named.
    """
    dealt = read_dealt_patients(connection)
    faults = {}
    for line, hospital, patient in zip(rows["line"], rows["hospital"], rows["patient"], strict=True):
        split = dealt.get((hospital, patient), "")
        if split != "train":
            whose = f"split {split}" if split else "no split yet"
            faults[int(line)] = f"patient {hospital}/{patient} is no train patient ({whose})"
    refuse_label_faults(
        name,
        faults,
        "Labels that a model's scores ask for may train only, else its doubts would choose what it is evaluated on:"
        " take the patient out. Labels that no score asked for come in by `bcd label import`.",
    )
