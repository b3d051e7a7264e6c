"""Label revisions: labels that come after their patches, corrections, and labels that are taken back.

Nothing is edited: a revision says what a patch's label is from now on, who says so, when and why, and the latest
counts (`bcd.store.labels`).

Example:
    >>> done = import_labels(
    ...     settings, catalog, Path("labels.csv"), hospital="east", author="Dr Lee", reason="second reading"
    ... )  # doctest: +SKIP
    >>> done.changed, done.unchanged  # doctest: +SKIP
    (120, 3270)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.batches import CELL
from bcd.store.catalog import Catalog, patiently
from bcd.store.conflicts import open_conflicts
from bcd.store.hospitals import find_declared
from bcd.store.label_files import read_labels, refuse_faults
from bcd.store.labels import latest_labels
from bcd.store.patients import name_patients, withdrawn_patients

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 5000
"""Rows of one bulk insert."""

LOOKUP = 500
"""Patients of one query."""

_COLUMNS = [*CELL, "label", "author", "reason", "revised_at"]


@dataclass(frozen=True)
class LabelImport:
    """What an import of labels did.

    Attributes:
        changed: Number of patches whose label is another one now, those taken back included.
        taken_back: Number of patches whose label was taken back.
        settled: Number of patches that were in doubt and are no more.
        unchanged: Number of patches whose label was that already.
    """

    changed: int
    taken_back: int
    settled: int
    unchanged: int


def import_labels(
    settings: Settings, catalog: Catalog, path: Path, *, hospital: str | None, author: str, reason: str
) -> LabelImport:
    """Revises labels by a file (`bcd.store.label_files`): all of it, or nothing where a line is faulty.

    The same file again changes nothing. A raw hospital's identifiers become pseudonyms first.

    Args:
        settings: Where the key of pseudonyms lies.
        catalog: The open catalog.
        path: CSV or Parquet.
        hospital: The hospital of lines that name none.
        author: Who says so.
        reason: Why, in a sentence.

    Raises:
        BcdError: The file cannot be read, or lines of it are faulty: of no known patch, of a withdrawn patient, or at
            odds with another line.
    """
    require_signature(author, reason)
    rows = read_labels(path)
    rows = rows.assign(hospital=_complete_hospitals(path, rows, hospital))
    for name, places in rows.groupby("hospital").indices.items():
        find_declared(catalog, str(name))
        patients = rows["patient"].iloc[places]
        named = name_patients(settings, catalog, Hospital(str(name)), patients.unique().tolist())
        rows.loc[patients.index, "patient"] = patients.map(named)

    def revise() -> LabelImport:
        with catalog.write() as connection:
            standing = _find_standing(connection, rows)
            refuse_faults(path.name, _find_faults(connection, rows, standing))
            return _append(connection, _compare(rows, standing), author, reason)

    return patiently(revise)


def require_signature(author: str, reason: str) -> None:
    """Refuses a human decision without author or reason.

    Raises:
        BcdError: One is missing, or the author's name has more than 255 characters.
    """
    for name, value in (("author", author), ("reason", reason)):
        if not value.strip() or (name == "author" and len(value) > 255):
            raise BcdError(
                f"The {name} is missing or too long.", f"Name it with --{name}; it is kept with the decision."
            )


def _complete_hospitals(path: Path, rows: pd.DataFrame, hospital: str | None) -> pd.Series[str]:
    nameless = rows["hospital"] == ""
    if nameless.any() and not hospital:
        raise BcdError(
            f"{path.name} does not say which hospital its patients are of.",
            "Name it with --hospital, or add a column hospital.",
        )
    return rows["hospital"].mask(nameless, hospital or "")


def _find_standing(connection: sa.Connection, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the patches of these patients: cell, standing (Int8) and whether they are in doubt."""
    import pandas as pd

    standing = pd.DataFrame(_select(connection, rows, latest_labels(), [*CELL, "label"]), columns=[*CELL, "standing"])
    doubted = pd.DataFrame(_select(connection, rows, open_conflicts(), CELL), columns=CELL).assign(in_doubt=True)
    standing = standing.astype({"standing": "Int8"}).merge(doubted, on=CELL, how="left")
    return standing.assign(in_doubt=standing["in_doubt"].notna())


def _select(connection: sa.Connection, rows: pd.DataFrame, query: sa.Select[Any], columns: list[str]) -> list[Any]:
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


def _find_faults(connection: sa.Connection, rows: pd.DataFrame, standing: pd.DataFrame) -> dict[int, str]:
    """Returns what is wrong, by line."""
    known = rows[CELL].merge(standing[CELL], on=CELL, how="left", indicator=True)["_merge"].to_numpy() == "both"
    different = rows.assign(label=rows["label"].fillna(-1)).groupby(CELL)["label"].transform("nunique").to_numpy() > 1
    withdrawn = withdrawn_patients(connection)
    gone = [person in withdrawn for person in zip(rows["hospital"], rows["patient"], strict=True)]
    faults: dict[int, str] = {}
    for faulty, what in (
        (~known, "the store has no patch {1}_idx{2}_x{3}_y{4} of {0}"),
        (different, "another line says something else of {1}_idx{2}_x{3}_y{4}"),
        (gone, "patient {0}/{1} is withdrawn"),
    ):
        for line, *cell in rows.loc[faulty, ["line", *CELL]].to_numpy().tolist():
            faults[line] = what.format(*cell)
    return faults


def _compare(rows: pd.DataFrame, standing: pd.DataFrame) -> pd.DataFrame:
    """Joins what is said with what stands, a row a patch; `differs` where the label is another one."""
    said = rows[[*CELL, "label"]].drop_duplicates(CELL).merge(standing, on=CELL)
    return said.assign(differs=said["label"].fillna(-1) != said["standing"].fillna(-1))


def _append(connection: sa.Connection, said: pd.DataFrame, author: str, reason: str) -> LabelImport:
    new = said[said["differs"] | said["in_doubt"]]
    # After every conflict that was found, whatever the clocks of two machines say: it settles them.
    latest = connection.scalar(sa.select(sa.func.max(tables.conflicts.c.found_at)))
    now = datetime.now(UTC)
    revised_at = now if latest is None else max(now, latest + timedelta(microseconds=1))
    values = new[CELL].assign(label=new["label"].astype(object).where(new["label"].notna(), None))
    columns = [values[name].tolist() for name in values]
    for start in range(0, len(values), CHUNK):
        cells = zip(*(column[start : start + CHUNK] for column in columns), strict=True)
        signed = ((*cell, author, reason, revised_at) for cell in cells)
        rows = [dict(zip(_COLUMNS, row, strict=True)) for row in signed]
        connection.execute(sa.insert(tables.label_revisions), rows)
    return LabelImport(
        changed=int(said["differs"].sum()),
        taken_back=int((said["differs"] & said["label"].isna()).sum()),
        settled=int(new["in_doubt"].sum()),
        unchanged=len(said) - len(new),
    )
