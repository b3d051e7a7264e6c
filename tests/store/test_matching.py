"""Why rows of a table find no patch."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest

from bcd.errors import BcdError
from bcd.patches import CELL
from bcd.store.matching import explain_unmatched_rows, find_matched_rows, match_table_rows

PATCHES = pd.DataFrame(
    [("east", patient, "5", 1 + 50 * i, 1 + 50 * j) for patient in ("00042", "P7") for i in range(6) for j in (8, 9)],
    columns=CELL,
)
GRID = PATCHES.assign(x=(PATCHES["x"] - 1) // 50, y=(PATCHES["y"] - 1) // 50)


def _rows(patches: pd.DataFrame, **changes: Any) -> pd.DataFrame:
    rows = patches.assign(**changes)
    return rows.assign(line=range(2, len(rows) + 2), identifier=rows["patient"])


@pytest.mark.parametrize(
    ("rows", "cause", "pair"),
    [
        (
            _rows(PATCHES.iloc[:12], patient="42"),
            "leading zeros",
            ("42_idx5_x1_y401 (line 2)", "00042_idx5_x1_y401"),
        ),
        (_rows(PATCHES.iloc[12:], patient="p7"), "another case", ("p7_idx5_x1_y401 (line 2)", "P7_idx5_x1_y401")),
        (
            _rows(PATCHES.iloc[12:], patient="TCGA-7"),
            r"prefix.*\bTCGA-7 .*, P7 ",
            ("TCGA-7_idx5_x1_y401 (line 2)", "P7_idx5_x1_y401"),
        ),
        (_rows(PATCHES, slide="1"), r"\b1 .*, 5", ("00042_idx1_x1_y401 (line 2)", "00042_idx5_x1_y401")),
        (_rows(GRID), r"\bx 2 .*\b101\b", ("00042_idx5_x0_y8 (line 2)", "00042_idx5_x1_y401")),
        (
            _rows(GRID, x=GRID["x"] + 1, y=GRID["y"] + 1),
            r"\bx 2 .*\b51\b",
            ("00042_idx5_x1_y9 (line 2)", "00042_idx5_x1_y401"),
        ),
        (
            _rows(PATCHES, x=PATCHES["x"] - 1, y=PATCHES["y"] - 1),
            "count pixels from 0",
            ("00042_idx5_x0_y400 (line 2)", "00042_idx5_x1_y401"),
        ),
        (
            _rows(PATCHES, x=PATCHES["y"], y=PATCHES["x"]),
            "exchanged",
            ("00042_idx5_x401_y1 (line 2)", "00042_idx5_x1_y401"),
        ),
        (_rows(PATCHES, hospital="west"), r"\bwest\b.*\beast\b", None),
        (_rows(PATCHES, patient="Q"), "patients are not those", None),
        (_rows(PATCHES, x=PATCHES["x"] + 7), "not corners of the grid", None),
        (_rows(PATCHES, x=PATCHES["x"] + 9000), "no patch has that x and y", None),
        (
            _rows(GRID, patient=PATCHES["patient"].str.lstrip("0"), slide="1"),
            "leading zeros.*slides differ.*count patches",
            ("42_idx1_x0_y8 (line 2)", "00042_idx5_x1_y401"),
        ),
    ],
)
def test_the_difference_between_rows_and_patches_is_named(
    rows: pd.DataFrame, cause: str, pair: tuple[str, str] | None
) -> None:
    assert not find_matched_rows(rows, PATCHES).any()
    found = explain_unmatched_rows(rows, PATCHES, lambda *_: None)
    assert pd.Series([found.cause]).str.contains(cause).all(), found.cause
    assert len(found.pairs) == 3
    assert pair is None or found.pairs[0] == pair


def test_rows_are_found_in_their_order_however_often_they_are_there() -> None:
    rows = _rows(pd.concat([PATCHES.iloc[[3, 3]], PATCHES.iloc[[5]].assign(x=7)]))
    twice = pd.concat([PATCHES, PATCHES])
    assert find_matched_rows(rows, twice).tolist() == [True, True, False]


def test_none_found_is_refused_and_some_are_counted() -> None:
    rows = _rows(PATCHES, patient="Q")
    with pytest.raises(BcdError, match=r"\b24 rows of t\.csv"):
        match_table_rows(
            "t.csv", "this delivery", rows, PATCHES, is_found=find_matched_rows(rows, PATCHES), call=lambda *_: None
        )
    rows.loc[1:, "patient"] = PATCHES["patient"]
    match = match_table_rows(
        "t.csv", "this delivery", rows, PATCHES, is_found=find_matched_rows(rows, PATCHES), call=lambda *_: None
    )
    assert (match.rows, match.unmatched) == (24, 1)
    assert "line 2: Q_idx5_x1_y401" in match.note


def test_a_store_without_a_patch_is_said() -> None:
    rows = _rows(PATCHES)
    nothing = PATCHES.iloc[:0]
    with pytest.raises(BcdError, match=r"\beast\b"):
        match_table_rows(
            "t.csv", "east", rows, nothing, is_found=find_matched_rows(rows, nothing), call=lambda *_: None
        )


@pytest.mark.parametrize("meant", ["B2", "C2", "D2"])
def test_of_several_patients_of_one_number_the_one_that_is_meant_is_named(meant: str) -> None:
    patches = pd.concat([PATCHES.assign(patient=patient) for patient in ("B2", "C2", "D2")])
    found = explain_unmatched_rows(
        _rows(PATCHES.iloc[:12], patient=f"PAT-{meant}"), patches, lambda hospital, identifiers: None
    )
    assert re.search(rf"\(PAT-{meant} .*, {meant} ", found.cause)
