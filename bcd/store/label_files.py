"""Tables of labels, a row a patch, as they lie beside a delivery or are imported.

| column | what it says |
| --- | --- |
| `patient`, `slide`, `x`, `y` | the patch; or else `name`, its file name as `8867_idx5_x51_y101.png` |
| `label` | 1, idc, positive = invasive ductal carcinoma; 0, none, negative = none; empty = the label is taken back |
| `hospital` | may be left out where one hospital is named for the whole file |

`bcd.store.table_files` says in which formats; the columns' usual other names are known too.

Examples:
    >>> table = read_label_table(Path("labels.csv"), "east", lambda hospital, identifiers: None)  # doctest: +SKIP
    >>> table.columns.tolist()  # doctest: +SKIP
    ['line', 'identifier', 'hospital', 'patient', 'slide', 'x', 'y', 'label']
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from bcd.errors import BcdError
from bcd.formats import format_count, format_some
from bcd.patches import CELL, PatchName
from bcd.store.table_files import parse_table_integers, read_table_file, rename_table_columns

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["line", "identifier", *CELL, "label"]

Call = Callable[[str, Collection[str]], Mapping[str, str] | None]
"""Returns, for a hospital and patients' identifiers, what the store calls them; None where it calls them the same."""

PLACES = ["patient", "slide", "x", "y"]

PLACE_NAMES = {
    "hospital": {"hospitalid", "hospitalname", "center", "centre", "institution"},
    "patient": {"patientid", "patientno", "patientnumber", "pid", "case", "caseid", "subject", "subjectid"},
    "slide": {"slideid", "slideno", "slidenumber", "slideidx", "idx"},
    "x": {"xpos", "xposition", "xcoord", "xcoordinate", "xpx", "xpixel", "posx", "coordx"},
    "y": {"ypos", "yposition", "ycoord", "ycoordinate", "ypx", "ypixel", "posy", "coordy"},
    "name": {"file", "filename", "filepath", "path", "image", "imagename", "imagefile", "patch", "patchname", "tile"},
}
"""What else the columns that name a patch are called."""

_LABEL_NAMES = {"labels", "class", "target", "truth", "groundtruth", "ytrue", "idc", "diagnosis"}

_YES = ("1", "idc", "idc+", "idcpositive", "idc-positive", "positive", "positiv", "pos", "class1")
_NO = ("0", "none", "noidc", "no-idc", "nonidc", "non-idc", "idc-", "idcnegative", "idc-negative", "class0")
_TRUE, _FALSE = ("true", "wahr", "yes", "ja"), ("negative", "negativ", "neg", "false", "falsch", "no", "nein")
_WORDS = dict.fromkeys((*_YES, *_TRUE), 1) | dict.fromkeys((*_NO, *_FALSE), 0)
ACCEPTED = "A label is 1, idc, positive or yes, or else 0, none, negative or no"
"""What is understood, for messages."""

IMPORT = "bcd label import FILE --hospital NAME --by NAME --reason TEXT"
"""The command that imports a table, for messages."""

LIST = "bcd_review"
"""The column by which a list of `bcd review` is known: in it, an empty label is no answer, and takes nothing back."""

_UNSURE = ("unsure", "?", "unclear", "unsicher", "unklar")
"""Answers of whoever has looked and cannot say."""

_SHOWN = 5
_FIX = "Give columns patient, slide, x, y (or name) and label, as CSV with a header or as Parquet."


def read_label_table(path: Path, hospital: str, call: Call, *, asked: bool = False) -> pd.DataFrame:
    """Reads a table of labels.

    Args:
        path: The file.
        hospital: The hospital of rows that name none; empty: every row must name one.
        call: How the store calls patients. Where it calls them differently, what may name somebody is not shown.
        asked: Whether it is a list of `bcd review` with answers: rows without one are left out, and `unsure` is NA.

    Returns:
        line (in the file, counted from 1), identifier (the patient as the table says), hospital, patient, slide
        (text), x, y (int64) and label (Int8, NA = taken back).

    Raises:
        BcdError: The file is no such table, or rows of it are faulty; the first of them are named.
    """
    table = rename_table_columns(path, read_table_file(path), {**PLACE_NAMES, "label": _LABEL_NAMES}).reset_index()
    missing = [name for name in ("label", *PLACES) if name not in table.columns]
    by_name = "name" in table.columns and missing and "label" not in missing
    if missing and not by_name:
        has = ", ".join(table.columns[1:]) or "none"
        raise BcdError(f"{path.name} lacks the columns {', '.join(missing)}; it has {has}.", _FIX)
    table = _take_answers(path, table, asked=asked)
    table["hospital"] = _complete_hospitals(path, table, hospital)
    is_patch = None
    if by_name:
        names = read_patch_names(table["name"])
        table[PLACES], is_patch = names[PLACES], names["is_patch"]
    table["identifier"] = parse_table_integers(table["patient"])
    hides = _name_patients(table, call)
    faults: dict[int, str] = {}

    def note(column: str, faulty: pd.Series[bool], what: str) -> None:
        for row in np.flatnonzero(faulty).tolist():
            said = _describe_label_fault(column, table[column].iloc[row], what, hides=bool(hides.iloc[row]))
            faults.setdefault(int(table["line"].iloc[row]), said)

    if is_patch is None:
        note("patient", table["identifier"] == "", "")
    else:
        note("name", ~is_patch, "not a patch's file name")
    table["slide"] = parse_table_integers(table["slide"].str.replace(r"^idx[ _]?", "", case=False, regex=True))
    for column in ("x", "y"):
        whole = parse_table_integers(table[column])
        faulty = ~whole.str.fullmatch("[0-9]{1,7}")
        note(column, faulty, "not a whole number of pixels")
        table[column] = whole.mask(faulty, "0").astype("int64")
    label = parse_label_texts(table["label"])
    note("label", label.isna() & (table["label"] != ""), "which is not understood")
    is_of_labels = any(fault.startswith("label is") for fault in faults.values())
    said = f"{ACCEPTED}; an empty one is taken back. " if is_of_labels else ""
    refuse_label_faults(path.name, faults, f"{said}Correct the file, and try again.")
    rows: pd.DataFrame = table.assign(label=label)[COLUMNS]
    _refuse_contradictions(path.name, rows)
    return rows


def _take_answers(path: Path, table: pd.DataFrame, *, asked: bool) -> pd.DataFrame:
    """Returns the rows that say something: of a list of `bcd review` those with an answer, of any other table all.

    Raises:
        BcdError: It is such a list and was not taken for one, or the other way round, or nobody has answered.
    """
    refuse_other_list(path, f"column {LIST}", is_list=LIST in table.columns, asked=asked)
    if not asked:
        return table
    answered = table[table["label"] != ""].reset_index(drop=True)
    if answered.empty:
        raise BcdError(
            f"{path.name} holds no answer: the column label is empty in all {len(table):,} lines.",
            f"Fill it in and import it again. {ACCEPTED}; unsure of what was looked at and cannot be said.",
        )
    return answered.assign(label=answered["label"].mask(answered["label"].str.casefold().isin(_UNSURE), ""))


def refuse_other_list(path: Path, mark: str, *, is_list: bool, asked: bool) -> None:
    """Refuses a list of `bcd review` that is imported as a file of labels, and the other way round.

    Args:
        path: The file.
        mark: By what such a list is known.
        is_list: Whether the file is one.
        asked: Whether it is imported as one.

    Raises:
        BcdError: The two differ.
    """
    if is_list != asked:
        said, command = ("is a list", "review import") if is_list else ("is no list", "label import")
        raise BcdError(
            f"{path.name} {said} of `bcd review`: it has {'a' if is_list else 'no'} {mark}.",
            f"Import it with `bcd {command} FILE --by NAME --reason TEXT`.",
        )


def parse_label_texts(texts: pd.Series[str]) -> pd.Series[int]:
    """Returns labels as Int8, NA where a text is neither empty nor understood, or empty.

    `none` is no IDC beside words; beside digits it may be a missing value, and is not understood.
    """
    plain = parse_table_integers(texts).str.casefold().str.replace(r"[\s_()]+", "", regex=True)
    labels = plain.map(_WORDS)
    if plain.isin(["0", "1"]).any():
        labels = labels.mask(plain == "none")
    return labels.astype("Int8")


def read_patch_names(texts: pd.Series[str]) -> pd.DataFrame:
    """Reads file names of patches, with folders of any system before them, and with any ending or none.

    Returns:
        patient, slide, x, y (text), label (text, empty where the name says none), and is_patch (bool), with the
        index of `texts`.
    """
    import pandas as pd

    rows: list[tuple[str, str, str, str, str, bool]] = []
    for text in texts:
        name = PureWindowsPath(text).name  # which knows both slashes
        patch = PatchName.parse(re.sub(r"(\.[A-Za-z]{2,4})?$", ".png", name, count=1))
        if patch is None:
            rows.append(("", "", "0", "0", "", False))
        else:
            label = "" if patch.label is None else str(patch.label)
            rows.append((patch.patient, patch.slide, str(patch.x), str(patch.y), label, True))
    return pd.DataFrame(rows, columns=[*PLACES, "label", "is_patch"], index=texts.index)


def refuse_label_faults(name: str, faults: Mapping[int, str], fix: str) -> None:
    """Refuses a file of which lines are faulty.

    Args:
        name: The file's name.
        faults: What is wrong, by line.
        fix: What to do about it.

    Raises:
        BcdError: There is a fault.
    """
    if faults:
        shown = format_some([f"line {line}: {faults[line]}" for line in sorted(faults)], _SHOWN, between="; ")
        raise BcdError(
            f"{name} has {format_count(len(faults), 'faulty line')}, nothing of it was imported: {shown}.",
            fix,
        )


def _refuse_contradictions(name: str, rows: pd.DataFrame) -> None:
    """Refuses a table of which two rows say different labels of one patch."""
    said = rows.assign(label=rows["label"].fillna(-1)).groupby(CELL)["label"].transform("nunique")
    faults = {
        int(line): f"another line says something else of {patient}_idx{slide}_x{x}_y{y}"
        for line, patient, slide, x, y in rows.loc[said > 1, ["line", *PLACES]].to_numpy().tolist()
    }
    refuse_label_faults(name, faults, "Correct the file, and try again.")


def _describe_label_fault(column: str, value: str, what: str, *, hides: bool) -> str:
    """Says what is wrong with a value; one that may name somebody is not shown."""
    if not value:
        return f"{column} is empty"
    if hides and not value.replace(".", "").replace(",", "").isdecimal():
        return f"{column} is {what} (a text of {len(value)} characters, which may name somebody)"
    return f"{column} is {value[:60]!r}, {what}"


def _complete_hospitals(path: Path, table: pd.DataFrame, hospital: str) -> pd.Series[str]:
    named = table["hospital"] if "hospital" in table.columns else table["line"].astype("str").str.slice(0, 0)
    nameless = named == ""
    if nameless.any() and not hospital:
        raise BcdError(
            f"{path.name} does not say which hospital its patients are of (line {table['line'][nameless].iloc[0]}).",
            "Name it with --hospital, or add a column hospital.",
        )
    return named.mask(nameless, hospital)


def _name_patients(table: pd.DataFrame, call: Call) -> pd.Series[bool]:
    """Calls patients as the store does, and tells in which rows that is not what the table calls them."""
    import pandas as pd

    hides: pd.Series[bool] = pd.Series(False, index=table.index)
    table["patient"] = table["identifier"]
    for hospital, rows in table.groupby("hospital").groups.items():
        identifiers = table.loc[rows, "identifier"]
        called = call(str(hospital), identifiers.unique().tolist())
        if called is not None:
            table.loc[rows, "patient"] = identifiers.map(called)
            hides[rows] = True
    return hides
