"""Anybody's predictions, a row a patch in a CSV, judged with the same code as bcd's own.

The columns patient, x, y and label are needed; hospital and slide are known where they are given. Every other
column is a score: somebody's probability of IDC, in [0, 1], judged as it is. x and y are the upper left pixel of a
patch, on the grid and the glass as admission knows them.

Example:
    predictions = read_predictions(Path("predictions.csv"))
    evaluate_scores(predictions.scores("jm_crop"), EvaluateOptions(), snapshot="", split="given")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.admission.rules import MAX_PLACE
from bcd.errors import BcdError
from bcd.evaluation.sample import KEY
from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("patient", "x", "y", "label")
"""Columns that a file of predictions must have."""

NAMELESS = "given"
"""What hospital and slide are called where the file does not say them."""


@dataclass(frozen=True)
class Predictions:
    """A file of predictions that was read and found sound.

    Attributes:
        path: The file.
        patches: hospital, patient, slide (text), x, y (int64), label (int8).
        columns: Names of the columns of scores, in the file's order.
        probabilities: The scores, shape (n, columns).
        given: Which of the columns hospital and slide the file has.
    """

    path: Path
    patches: pd.DataFrame
    columns: tuple[str, ...]
    probabilities: NDArray[np.float64]
    given: frozenset[str]

    def scores(self, column: str) -> pd.DataFrame:
        """Returns the score frame of one column."""
        return self.patches.assign(probability=self.probabilities[:, self.columns.index(column)])

    def select(self, keep: NDArray[np.bool_]) -> Predictions:
        """Returns some of the patches, shape (n,)."""
        return Predictions(
            self.path,
            self.patches[keep].reset_index(drop=True),
            self.columns,
            self.probabilities[keep],
            self.given,
        )


def read_predictions(path: Path, columns: Sequence[str] = ()) -> Predictions:
    """Reads a file of predictions.

    Args:
        path: A CSV with a header.
        columns: The columns of scores; none: all but those that name, place and label a patch.

    Raises:
        BcdError: It cannot be read, lacks a column or a score, or breaks a rule; the row is named as its line.
    """
    table = _read(path)
    missing = [name for name in (*NEEDED, *columns) if name not in table.columns]
    if missing:
        raise BcdError(
            f"{path} lacks the column {', '.join(missing)}.",
            f"It needs {', '.join(NEEDED)} and one or more columns of scores; it has {', '.join(table.columns)}.",
        )
    columns = tuple(columns) or tuple(name for name in table.columns if name not in {*KEY, "label"})
    nameless = [name for name in columns if name.startswith("Unnamed: ")]  # what pandas calls it
    if nameless:
        place = list(table.columns).index(nameless[0]) + 1
        raise BcdError(
            f"Column {place} of {path} has no name.", "Name it in the header, or name the columns of scores."
        )
    if not columns:
        raise BcdError(f"{path} has no column of scores.", "Add one or more, with probabilities of IDC in [0, 1].")
    if table.empty:
        raise BcdError(f"{path} has no row below its header.", "Give a row a patch.")
    patches = _read_patches(path, table)
    probabilities = np.column_stack([_read_scores(path, table, name) for name in columns])
    return Predictions(path, patches, columns, probabilities, frozenset({"hospital", "slide"} & set(table.columns)))


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        # As text: a patient 0042 is not 42. Blank lines are kept, so that a row's number is its line's.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False)
    except FileNotFoundError as error:
        raise BcdError(f"There is no file {path}.", "Check the path.") from error
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise BcdError(f"{path} cannot be read as a CSV: {error}.", "Give a UTF-8 CSV with a header.") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise BcdError(f"{path}: its rows have more fields than its header.", "Name every column in the header.")
    return table.fillna("").rename(columns=str.strip)


def _read_patches(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    patches = pd.DataFrame(index=table.index)
    for name in ("hospital", "patient", "slide"):
        patches[name] = table[name].str.strip() if name in table.columns else NAMELESS
        _refuse(path, table, name, patches[name] == "", "is empty")
    for name in ("x", "y"):
        place = _as_numbers(table[name])
        on_grid = (place % PATCH_PIXELS == 1) & (place > 0) & (place <= MAX_PLACE)
        rule = f"is not 1 more than a multiple of {PATCH_PIXELS}, up to {MAX_PLACE:,}"
        _refuse(path, table, name, ~on_grid, rule)
        patches[name] = place.astype(np.int64)
    label = _as_numbers(table["label"])
    _refuse(path, table, "label", ~np.isin(label, (0, 1)), "is neither 0 nor 1")
    patches["label"] = label.astype(np.int8)
    twice = patches.duplicated(KEY).to_numpy()
    if twice.any():
        row = int(twice.argmax())
        same = (patches[KEY] == patches.loc[row, KEY]).all(axis=1).to_numpy()
        raise BcdError(
            f"{path}, lines {_line(int(same.argmax()))} and {_line(row)}: the same patch twice"
            f" (patient {patches['patient'][row]}, x {patches['x'][row]}, y {patches['y'][row]}).",
            "Give every patch once; tell hospitals and slides apart with the columns hospital and slide.",
        )
    return patches


def _read_scores(path: Path, table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    scores = _as_numbers(table[name])
    _refuse(path, table, name, ~((scores >= 0) & (scores <= 1)), "is not a probability in [0, 1]")
    return scores


def _as_numbers(texts: pd.Series[str]) -> NDArray[np.float64]:
    import pandas as pd

    return pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)


def _refuse(
    path: Path, table: pd.DataFrame, column: str, broken: NDArray[np.bool_] | pd.Series[bool], rule: str
) -> None:
    rows = np.flatnonzero(np.asarray(broken))
    if len(rows):
        more = f" (and {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
        found = str(table[column].iloc[rows[0]])[:40]
        mend = "Mend the file"
        if column not in {*KEY, "label"}:
            mend += f", or name the columns of scores if {column} is none of them"
        raise BcdError(f"{path}, line {_line(int(rows[0]))}: {column} {found!r} {rule}{more}.", f"{mend}.")


def _line(row: int) -> int:
    return row + 2  # counted from 1, below the header
