"""Files of labels: CSV or Parquet, a line a patch.

| column | what it says |
| --- | --- |
| `patient`, `slide`, `x`, `y` | the patch; or else `name`, its file name as `8867_idx5_x51_y101.png` |
| `label` | 1 = invasive ductal carcinoma, 0 = none, empty = the label is taken back |
| `hospital` | may be left out where one hospital is named for the whole file |

Example:
    >>> read_labels(Path("labels.csv")).columns.tolist()  # doctest: +SKIP
    ['line', 'hospital', 'patient', 'slide', 'x', 'y', 'label']
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import BcdError
from bcd.patches import PatchName

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["line", "hospital", "patient", "slide", "x", "y", "label"]

MAX_ROWS, MAX_COLUMNS = 20_000_000, 100
"""More is no table of labels."""

_SHOWN = 5
_PLACE = ["patient", "slide", "x", "y"]
_MEND = "Give columns patient, slide, x, y (or name) and label, as CSV with a header or as Parquet."


def read_labels(path: Path) -> pd.DataFrame:
    """Reads a file of labels.

    Returns:
        line (in the file, counted from 1), hospital (empty where the file has none), patient, slide (text), x, y
        (int64) and label (Int8, NA = taken back).

    Raises:
        BcdError: The file is no such table, or lines of it are faulty; the first of them are named.
    """
    table = _read_table(path)
    if table.columns.duplicated().any():
        raise BcdError(f"{path.name} has two columns of one name.", _MEND)
    missing = [name for name in ("label", *_PLACE) if name not in table.columns]
    if missing and (missing != _PLACE or "name" not in table.columns):
        raise BcdError(f"{path.name} lacks the columns {', '.join(missing)}.", _MEND)
    faults: dict[int, str] = {}
    if missing:
        table = _read_names(table, faults)
    for column in ("x", "y"):
        faulty = ~table[column].str.fullmatch("[0-9]{1,7}")
        faults |= dict.fromkeys(table.loc[faulty, "line"], f"{column} is no whole number")
        table[column] = table[column].mask(faulty, "0").astype("int64")
    faulty = ~table["label"].isin(["0", "1", ""])
    faults |= dict.fromkeys(table.loc[faulty, "line"], "the label is not 0, 1 or empty")
    refuse_faults(path.name, faults)
    table["label"] = table["label"].mask(table["label"] == "").astype("Int8")
    return table.reindex(columns=COLUMNS, fill_value="")


def refuse_faults(name: str, faults: dict[int, str]) -> None:
    """Refuses a file of which lines are faulty.

    Args:
        name: The file's name.
        faults: What is wrong, by line.

    Raises:
        BcdError: There is a fault.
    """
    if faults:
        shown = "; ".join(f"line {line}: {faults[line]}" for line in sorted(faults)[:_SHOWN])
        more = ", …" if len(faults) > _SHOWN else ""
        raise BcdError(
            f"{name} has {len(faults):,} faulty line{'s' if len(faults) > 1 else ''},"
            f" nothing of it was imported: {shown}{more}.",
            "Correct the file and import it again.",
        )


def _read_table(path: Path) -> pd.DataFrame:
    """Reads a table as text, without its empty lines; column `line` says where a row stands."""
    try:
        table = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (OSError, ValueError, csv.Error) as error:  # Arrow's errors and those of decoding are ValueErrors
        raise BcdError(f"{path.name} cannot be read as a table of labels: {error}.", _MEND) from error
    lines = table.pop("line")
    table = table.apply(lambda column: column.str.strip())
    is_empty = (table == "").all(axis="columns")
    table.columns = table.columns.str.strip().str.lower()
    filled: pd.DataFrame = table.assign(line=lines).loc[~is_empty].reset_index(drop=True)
    return filled


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.parquet as pq

    # Looked at before it is read: a few bytes can stand for a thousand million equal rows.
    shape = pq.ParquetFile(path).metadata
    if shape.num_rows > MAX_ROWS or shape.num_columns > MAX_COLUMNS:
        raise ValueError(f"{shape.num_rows:,} rows and {shape.num_columns:,} columns are too many")
    table = pd.read_parquet(path)
    if not all(isinstance(name, str) for name in table.columns):
        raise ValueError("the names of its columns are not text")
    table = table.convert_dtypes().astype("string").fillna("").astype("str")
    return table.assign(line=range(1, len(table) + 1))


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a mark of their encoding
        first = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=";" if ";" in first and "," not in first else ",", strict=True)
        header = next(reader, [])
        if len(header) > MAX_COLUMNS:
            raise ValueError(f"{len(header):,} columns are too many")
        rows = [[str(reader.line_num), *row] for row in reader]
    width = len(header) + 1
    for line, *values in rows:
        if len(values) >= width:
            raise ValueError(f"line {line} has {len(values)} values and the header {len(header)}")
    rows = [row + [""] * (width - len(row)) for row in rows]
    table = pd.DataFrame(rows, columns=["line", *header], dtype="str")
    return table.assign(line=table["line"].astype("int64"))


def _read_names(table: pd.DataFrame, faults: dict[int, str]) -> pd.DataFrame:
    import pandas as pd

    places = []
    for line, name in zip(table["line"], table["name"], strict=True):
        patch = PatchName.parse(name.rpartition("/")[2])
        if patch is None:  # and is not repeated: the names of a raw hospital may name somebody
            faults[line] = "the name is not a patch's"
            places.append(("", "", "0", "0"))
        else:
            places.append((patch.patient, patch.slide, str(patch.x), str(patch.y)))
    return table.assign(**pd.DataFrame(places, columns=_PLACE, dtype="str"))
