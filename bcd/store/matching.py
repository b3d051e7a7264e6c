"""Tables that are joined with patches: which rows find their patch, and why the others may not.

A row that finds none is a fault of the table or of the delivery, and is counted; where none does, the table is
refused. Then rows and patches are shown side by side, with the difference that would explain it.

Examples:
    >>> is_found = find_matched_rows(rows, patches)  # doctest: +SKIP
    >>> explain_unmatched_rows(rows[~is_found], patches).cause  # doctest: +SKIP
    'leading zeros of patients are missing in the table'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError
from bcd.patches import CELL
from bcd.store.label_files import IMPORT

if TYPE_CHECKING:
    import pandas as pd

    from bcd.store.label_files import Call

_CELL = CELL[1:]
_LOOKED_AT = 500
"""Rows by which a difference is sought."""

FIX = f"Write patient, slide, x and y as the patches' names do, and import the table: {IMPORT}."

_SHOWN = 3
_WIDEST = 12  # digits of an identifier, to which zeros are put before it

_PATIENTS: Mapping[str, Callable[[str], str]] = {
    "leading zeros of patients differ, as a spreadsheet drops them": lambda name: name.lstrip("0"),
    "patients are written in another case": str.casefold,
    "patients have a prefix, or another one": lambda name: re.sub(r"[^0-9]", "", name).lstrip("0"),
}
"""How an identifier of a table may differ from the patches', and what is the same of both."""

_Place = tuple[int, int]

_PLACES: Mapping[str, Callable[[int, int], _Place]] = {
    "": lambda x, y: (x, y),
    "x and y count patches, not pixels (x 2 is pixel 101)": lambda x, y: (50 * x + 1, 50 * y + 1),
    "x and y count patches, not pixels (x 2 is pixel 51)": lambda x, y: (50 * x - 49, 50 * y - 49),
    "x and y count pixels from 0, not from 1": lambda x, y: (x + 1, y + 1),
    "x and y are exchanged": lambda x, y: (y, x),
}
"""How a place may be counted otherwise, and the pixel that is meant."""


@dataclass(frozen=True)
class Match:
    """How a table and patches fit together.

    Attributes:
        rows: Rows of the table.
        unmatched: Rows that name no patch.
        note: Which these are and why, in a sentence; empty where there are none.
    """

    rows: int
    unmatched: int
    note: str


@dataclass(frozen=True)
class Explanation:
    """Why rows may find no patch.

    Attributes:
        cause: The likely difference; empty where none is known.
        pairs: Rows and patches to be shown side by side.
    """

    cause: str
    pairs: list[tuple[str, str]]


def find_matched_rows(rows: pd.DataFrame, patches: pd.DataFrame) -> NDArray[np.bool_]:
    """Tells which rows name one of the patches, both by `CELL`, shape (rows,)."""
    merged = rows[CELL].merge(patches[CELL].drop_duplicates(), on=CELL, how="left", indicator=True)
    return np.asarray(merged["_merge"] == "both")


def match_table_rows(
    name: str,
    where: str,
    rows: pd.DataFrame,
    patches: pd.DataFrame,
    *,
    is_found: NDArray[np.bool_],
    call: Call,
    fix: str = FIX,
) -> Match:
    """Says how a table and patches fit together.

    Args:
        name: The table's file name.
        where: What the patches are of, such as "this delivery".
        rows: line, identifier and `CELL` of each row.
        is_found: Which of them name a patch.
        patches: `CELL` of the patches among which the others should be.
        call: How the store calls patients.
        fix: What to do where no row names a patch.

    Raises:
        BcdError: No row names a patch.
    """
    if is_found.all():
        return Match(len(rows), 0, "")
    lost = rows[~is_found]
    found = explain_unmatched_rows(lost, patches, call)
    likely = f" Likely cause: {found.cause}." if found.cause else ""
    if is_found.any():
        line, first = lost["line"].iloc[0], _title_cell(lost[_CELL].iloc[0].tolist())
        note = (
            f"{len(lost):,} of the {len(rows):,} rows of {name} name no patch of {where}, the first in line {line}:"
        )
        return Match(len(rows), len(lost), f"{note} {first}.{likely}")
    sides = "; ".join(f"{row} | {patch or 'no patch'}" for row, patch in found.pairs)
    beside = f" Rows | patches: {sides}." if sides else f" There is no patch of {where}."
    none = f"None of the {len(rows):,} rows" if len(rows) > 1 else "Not even the one row"
    raise BcdError(
        f"{none} of {name} names a patch of {where}.{likely}{beside}",
        fix,
    )


def explain_unmatched_rows(lost: pd.DataFrame, patches: pd.DataFrame, call: Call) -> Explanation:
    """Looks for the difference between rows and patches that explains why they do not meet.

    Args:
        lost: line, identifier and `CELL` of rows that name no patch.
        patches: `CELL` of patches.
        call: How the store calls patients.
    """
    if patches.empty:
        return Explanation("", [])
    sample = lost.iloc[np.unique(np.linspace(0, len(lost) - 1, _LOOKED_AT).astype(int))]
    causes: list[str] = []
    hospitals = sorted(set(patches["hospital"]))
    if not sample["hospital"].isin(hospitals).any():
        causes.append(f"the table is of hospital {sample['hospital'].iloc[0]}, the patches of {', '.join(hospitals)}")
    meant = sample.assign(patient=_find_patients(sample, set(patches["patient"]), call, causes))
    near = patches[patches["patient"].isin(meant["patient"])]
    if near.empty:
        near = patches
        causes = causes or ["its patients are not those of the patches"]
    else:
        meant["slide"] = _find_slides(meant, near, causes)
        _find_places(meant, near, causes)
    known, others = set(_list_cells(near)), iter(near.head(_SHOWN)[_CELL].to_numpy().tolist())
    pairs = []
    for row, said, cell in list(zip(sample["line"], _list_cells(sample), _list_cells(meant), strict=True))[:_SHOWN]:
        patch = cell if cell in known else next(others, None)
        pairs.append((f"{_title_cell(said)} (line {row})", "" if patch is None else _title_cell(patch)))
    return Explanation("; ".join(causes), pairs)


def _find_patients(sample: pd.DataFrame, known: set[str], call: Call, causes: list[str]) -> list[str]:
    """Returns whom the rows mean, where one difference explains most of them."""
    said: list[str] = sample["patient"].tolist()
    hits = _count_known_said(said, known)
    for cause, same in _PATIENTS.items():
        by_key: dict[str, list[str]] = {}
        for patient in sorted(known):
            by_key.setdefault(same(patient), []).append(patient)
        meant = [_find_likest(patient, by_key.get(same(patient), []) if same(patient) else []) for patient in said]
        if _count_known_said(meant, known) > hits and 2 * _count_known_said(meant, known) >= len(said):
            one, other = next(pair for pair in zip(said, meant, strict=True) if pair[0] != pair[1])
            causes.append(f"{cause} ({one} in the table, {other} in the patches' names)")
            return meant
    wider = {one: [one.zfill(width) for width in range(len(one) + 1, _WIDEST)] for one in set(sample["identifier"])}
    called = call(sample["hospital"].iloc[0], sorted({one for every in wider.values() for one in every}))
    if called is not None:  # of a raw hospital nothing is seen of an identifier but whether it is the same
        padded = {one: next((called[w] for w in every if called[w] in known), "") for one, every in wider.items()}
        meant = [padded[one] or patient for one, patient in zip(sample["identifier"], said, strict=True)]
        if _count_known_said(meant, known) > hits and 2 * _count_known_said(meant, known) >= len(said):
            causes.append(next(iter(_PATIENTS)))
            return meant
    return said


def _find_likest(patient: str, others: list[str]) -> str:
    """Returns the identifier whose end is most like a patient's; the patient's own where there is none."""

    def count_alike(other: str) -> int:
        ends = zip(reversed(patient), reversed(other), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))

    return max(others, key=count_alike, default=patient)


def _find_slides(meant: pd.DataFrame, near: pd.DataFrame, causes: list[str]) -> list[str]:
    pairs = list(zip(meant["patient"], meant["slide"], strict=True))
    known = set(zip(near["patient"], near["slide"], strict=True))
    if 2 * _count_known_said(pairs, known) >= len(pairs):
        return [slide for _, slide in pairs]
    only = dict(sorted(known))  # of several, one: it is a hint
    patient, slide = next((pair for pair in pairs if pair[0] in only), pairs[0])
    causes.append(f"slides differ (patient {patient} has {slide} in the table, {only.get(patient)} in the names)")
    return [only.get(patient, slide) for patient, slide in pairs]


def _find_places(meant: pd.DataFrame, near: pd.DataFrame, causes: list[str]) -> None:
    """Finds how x and y are counted, and moves the rows to what is meant."""
    known, said = set(_list_cells(near)), _list_cells(meant)
    moved = {cause: [(*cell[:2], *move(*cell[2:])) for cell in said] for cause, move in _PLACES.items()}
    hits = {cause: _count_known_said(cells, known) for cause, cells in moved.items()}
    cause = max(hits, key=hits.__getitem__)  # the first of equals: as they are
    if 2 * hits[cause] >= len(said):
        causes += [cause] if cause else []
        meant[["x", "y"]] = [cell[2:] for cell in moved[cause]]
    elif not causes:
        is_off = 2 * ((meant["x"] % 50 != 1) | (meant["y"] % 50 != 1)).sum() > len(said)
        causes.append("x and y are not corners of the grid 1, 51, 101, …" if is_off else "no patch has that x and y")


def _count_known_said(said: Iterable[Hashable], known: Collection[Hashable]) -> int:
    return sum(one in known for one in said)


def _list_cells(rows: pd.DataFrame) -> list[tuple[str, str, int, int]]:
    """Returns patient, slide, x and y of each row."""
    return list(zip(*(rows[name].tolist() for name in _CELL), strict=True))


def _title_cell(cell: Sequence[object]) -> str:
    return "{}_idx{}_x{}_y{}".format(*cell)
