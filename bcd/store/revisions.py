"""Label revisions: labels that come after their patches, corrections, and labels that are taken back.

Nothing is edited: a revision says what a patch's label is from now on, who says so, when and why, and the latest
counts (`bcd.store.labels`).

Examples:
    >>> done = import_labels(
    ...     store, Path("labels.csv"), hospital="east", sign_off=SignOff("Dr Lee", "second reading")
    ... )  # doctest: +SKIP
    >>> done.changed, done.unchanged  # doctest: +SKIP
    (120, 3270)
    >>> done.match.unmatched, done.unlabelled  # doctest: +SKIP
    (0, 12)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from numpy.typing import NDArray

from bcd.patches import CELL, Hospital
from bcd.store import tables
from bcd.store.asked import asked_patches, refuse_evaluated_patients
from bcd.store.catalog import retry_while_database_away
from bcd.store.conflicts import open_conflicts
from bcd.store.hospitals import find_declared_hospital
from bcd.store.label_files import Call, read_label_table, refuse_label_faults
from bcd.store.labels import latest_labels
from bcd.store.matching import Match, find_matched_rows, match_table_rows
from bcd.store.patients import name_stored_patients, withdrawn_patients
from bcd.store.sign_off import COLUMNS as SIGNED
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

CHUNK = 5000
"""Rows of one bulk insert."""

LOOKUP = 500
"""Patients of one query."""

SOUGHT = 300_000
"""Patches of the store among which those are sought that rows may mean."""

_COLUMNS = [*CELL, "label", "asked", *SIGNED]


@dataclass(frozen=True)
class LabelImport:
    """What an import of labels did.

    Attributes:
        changed: Number of patches whose label is another one now, those taken back included.
        taken_back: Number of patches whose label was taken back.
        settled: Number of patches that were in doubt and are no more.
        unchanged: Number of patches whose label was that already.
        unlabelled: Number of patches of the table's hospitals that have no label now.
        match: How the table's rows and the store's patches fit together.
        confirmed: Number of patches that were asked about and whose label stands.
    """

    changed: int
    taken_back: int
    settled: int
    unchanged: int
    unlabelled: int
    match: Match
    confirmed: int = 0


def import_labels(
    store: Store, path: Path, *, hospital: str | None, sign_off: SignOff, asked: bool = False
) -> LabelImport:
    """Revises labels by a file (`bcd.store.label_files`): nothing of it where a line is faulty.

    The same file again changes nothing. A raw hospital's identifiers become pseudonyms first. Rows that name no patch
    of the store are counted, as beside a delivery.

    Args:
        store: The open store.
        path: CSV or Parquet.
        hospital: The hospital of lines that name none.
        sign_off: Who says so, and why.
        asked: Whether it is a list of `bcd review` with answers: a patch without an answer is passed over.

    Raises:
        BcdError: The file cannot be read; lines of it are faulty, of a withdrawn patient or at odds with others; or
            none of them names a patch of the store. An answer is about a patient who is no train patient.
    """

    def call(name: str, identifiers: Collection[str]) -> Mapping[str, str] | None:
        if find_declared_hospital(store, name).identifiers == "pseudonyms":
            return None
        return name_stored_patients(store, Hospital(name), identifiers)

    rows = read_label_table(path, hospital or "", call, asked=asked)
    return revise_labels(store, path.name, rows, call, sign_off=sign_off, asked=asked)


def revise_labels(
    store: Store, name: str, rows: pd.DataFrame, call: Call, *, sign_off: SignOff, asked: bool = False
) -> LabelImport:
    """Revises labels by rows as `read_label_table` returns them: nothing of it where a patient is withdrawn.

    Args:
        store: The open store.
        name: Of the file that they are from.
        rows: What is said; one at least.
        call: How the store calls patients.
        sign_off: Who says so, and why.
        asked: Whether a model's scores chose the patches; then a label that is confirmed is entered too.

    Raises:
        BcdError: Rows are of a withdrawn patient, or none names a patch of the store; or they were asked for and are
            not all of train patients.
    """

    def revise() -> tuple[dict[str, int], NDArray[np.bool_]]:
        with store.write() as connection:
            standing = _find_standing(connection, rows)
            refuse_label_faults(name, _find_withdrawn(connection, rows), "Take the patient out of the file.")
            is_found = find_matched_rows(rows, standing)
            if asked:
                refuse_evaluated_patients(connection, name, rows[is_found])
            said = _compare_with_standing(rows, standing, asked=asked)
            return _append_revisions(connection, said, sign_off, asked=asked), is_found

    done, is_found = retry_while_database_away(revise)
    hospitals = sorted(set(rows["hospital"]))
    # Only now: to name patients takes a lock of its own.
    others = rows if is_found.all() else _some_patches(store, hospitals)
    match = match_table_rows(name, f"{', '.join(hospitals)} in the store", rows, others, is_found=is_found, call=call)
    return LabelImport(**done, match=match)


def _find_standing(connection: sa.Connection, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the patches of these patients: cell, standing (Int8), in_doubt, and asked: a person answered before."""
    import pandas as pd

    standing = pd.DataFrame(
        _select_of_patients(connection, rows, latest_labels(), [*CELL, "label"]), columns=[*CELL, "standing"]
    ).astype({"standing": "Int8"})
    for column, query in (("in_doubt", open_conflicts()), ("asked", asked_patches())):
        marked = pd.DataFrame(_select_of_patients(connection, rows, query, CELL), columns=CELL)
        standing[column] = find_matched_rows(standing, marked)
    return standing


def _select_of_patients(
    connection: sa.Connection, rows: pd.DataFrame, query: sa.Select[Any], columns: list[str]
) -> list[Any]:
    """Returns what a query says of the patients of `rows`."""
    table = query.subquery()
    found: list[Any] = []
    for hospital, patients in rows.groupby("hospital")["patient"].unique().items():
        for start in range(0, len(patients), LOOKUP):
            some = patients[start : start + LOOKUP].tolist()
            condition = sa.and_(table.c.hospital == hospital, table.c.patient.in_(some))
            answer = connection.execute(sa.select(*(table.c[name] for name in columns)).where(condition))
            found += map(tuple, answer)  # from SQLAlchemy's own rows, a frame is made slowly
    return found


def _some_patches(store: Store, hospitals: list[str]) -> pd.DataFrame:
    """Returns patches of some hospitals, among which a row that names none is sought."""
    import pandas as pd

    patches = tables.patches.c
    query = sa.select(*(patches[name] for name in CELL)).where(patches.hospital.in_(hospitals)).limit(SOUGHT)
    return pd.DataFrame(map(tuple, store.rows(query)), columns=CELL)


def _find_withdrawn(connection: sa.Connection, rows: pd.DataFrame) -> dict[int, str]:
    """Returns the lines of patients who have withdrawn."""
    withdrawn = withdrawn_patients(connection)
    people = zip(rows["line"], rows["hospital"], rows["patient"], strict=True)
    return {
        int(line): f"patient {hospital}/{patient} is withdrawn"
        for line, hospital, patient in people
        if (hospital, patient) in withdrawn
    }


def _count_unlabelled(connection: sa.Connection, hospitals: list[str]) -> int:
    labels = latest_labels().subquery()
    query = sa.select(sa.func.count()).where(labels.c.hospital.in_(hospitals), labels.c.label.is_(None))
    return connection.scalar(query) or 0


def _compare_with_standing(rows: pd.DataFrame, standing: pd.DataFrame, *, asked: bool) -> pd.DataFrame:
    """Joins what is said with what stands, a row a patch.

    `differs` where the label is another one, `confirms` where it is the same and was asked for, for the first time.
    """
    said = rows[[*CELL, "label"]].drop_duplicates(CELL).merge(standing, on=CELL)
    differs = said["label"].fillna(-1) != said["standing"].fillna(-1)
    return said.assign(differs=differs, confirms=asked & ~differs & ~said["asked"])


def _append_revisions(
    connection: sa.Connection, said: pd.DataFrame, sign_off: SignOff, *, asked: bool
) -> dict[str, int]:
    """Enters what is new, and counts it."""
    new = said[said["differs"] | said["in_doubt"] | said["confirms"]]
    # After every conflict that was found, whatever the clocks of two machines say: it settles them.
    latest = connection.scalar(sa.select(sa.func.max(tables.conflicts.c.found_at)))
    at = sign_off.at if latest is None else max(sign_off.at, latest + timedelta(microseconds=1))
    values = new[CELL].assign(label=new["label"].astype(object).where(new["label"].notna(), None))
    columns = [values[name].tolist() for name in values]
    for start in range(0, len(values), CHUNK):
        cells = zip(*(column[start : start + CHUNK] for column in columns), strict=True)
        signed = ((*cell, asked, sign_off.by, sign_off.reason, at) for cell in cells)
        rows = [dict(zip(_COLUMNS, row, strict=True)) for row in signed]
        connection.execute(sa.insert(tables.label_revisions), rows)
    return {
        "changed": int(said["differs"].sum()),
        "taken_back": int((said["differs"] & said["label"].isna()).sum()),
        "settled": int(new["in_doubt"].sum()),
        "unchanged": len(said) - len(new),
        "unlabelled": _count_unlabelled(connection, said["hospital"].unique().tolist()),
        "confirmed": int(new["confirms"].sum()),
    }
