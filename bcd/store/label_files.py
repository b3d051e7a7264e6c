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

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.errors import BcdError
from bcd.patches import PatchName

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["line", "hospital", "patient", "slide", "x", "y", "label"]

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
    table.columns = table.columns.str.strip().str.lower()
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
            f"{name} has {len(faults):,} faulty lines and nothing of it was imported: {shown}{more}.",
            "Correct them and import the file again.",
        )


def _read_table(path: Path) -> pd.DataFrame:
    """Reads a table as text, without its empty lines; column `line` says where a row stands."""
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            table = pd.read_parquet(path)
            table = table.convert_dtypes().astype("string").fillna("").astype("str")
            first = 1
        else:
            text: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
            table = pd.read_csv(path, sep=_separator(path), skip_blank_lines=False, **text)
            first = 2  # after the header
    except (OSError, ValueError) as error:  # pandas' and Arrow's errors of parsing and decoding are ValueErrors
        raise BcdError(f"{path.name} cannot be read as a table of labels: {error}.", _MEND) from error
    table = table.fillna("").apply(lambda column: column.str.strip())
    table["line"] = range(first, first + len(table))
    is_empty = (table.drop(columns="line") == "").all(axis="columns")
    filled: pd.DataFrame = table.loc[~is_empty].reset_index(drop=True)
    return filled


def _separator(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    return ";" if ";" in header and "," not in header else ","


def _read_names(table: pd.DataFrame, faults: dict[int, str]) -> pd.DataFrame:
    import pandas as pd

    places = []
    for line, name in zip(table["line"], table["name"], strict=True):
        patch = PatchName.parse(name)
        if patch is None:  # and is not repeated: the names of a raw hospital may name somebody
            faults[line] = "the name is not a patch's"
            places.append(("", "", "0", "0"))
        else:
            places.append((patch.patient, patch.slide, str(patch.x), str(patch.y)))
    return table.assign(**pd.DataFrame(places, columns=_PLACE, dtype="str"))
