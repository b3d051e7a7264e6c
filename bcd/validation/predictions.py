"""Anybody's predictions, a row a patch in a table, evaluated with the same code as bcd's own.

The columns patient, x, y (or name, the patch's file name) and label are needed; hospital and slide are known where
they are given. Every other column that holds probabilities is a score: somebody's probability of IDC, in [0, 1],
evaluated as it is. Columns that hold something else, such as a fold or a class, are left out and named. x and y are
the upper left pixel of a patch, on the grid and the glass as admission knows them. `bcd.store.table_files` says in
which formats.

Examples:
        predictions = read_predictions(Path("predictions.csv"))
        evaluate_scores(predictions.scores("jm_crop"), EvaluateOptions(), snapshot="", split="given")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.admission.rules import MAX_PLACE
from bcd.errors import BcdError
from bcd.patches import CELL, PATCH_PIXELS, SLIDE, is_on_grid
from bcd.store.label_files import PLACE_NAMES, parse_label_texts, read_patch_names
from bcd.store.table_files import parse_table_integers, parse_table_numbers, read_table_file, rename_table_columns

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("patient", "x", "y", "label")
"""Columns that a file of predictions must have."""

NAMELESS = "given"
"""What hospital and slide are called where the file does not say them."""

_NAMES: Mapping[str, frozenset[str]] = {
    **{name: frozenset(others) - {"idx"} for name, others in PLACE_NAMES.items()},
    "label": frozenset({"labels", "target", "truth", "groundtruth", "ytrue", "truelabel"}),
}
"""What else the known columns are called; `idx` numbers rows here, and `class` may be what was predicted."""

_NO_SCORES = frozenset(
    {
        *(
            "id",
            "ids",
            "index",
            "idx",
            "row",
            "fold",
            "split",
            "set",
            "batch",
            "seed",
            "epoch",
            "step",
            "class",
            "time",
        ),
        *(
            "seconds",
            "duration",
            "loss",
            "weight",
            "threshold",
            "cutoff",
            "uncertainty",
            "entropy",
            "variance",
            "std",
            "sd",
        ),
    }
)
"""Names of columns that are no probabilities of IDC, whatever their values."""

_LOGITS, _PERCENT = "write 1 / (1 + exp(-logit))", "write 26 % or 0.26"


@dataclass(frozen=True)
class Predictions:
    """A file of predictions that was read and found sound.

    Attributes:
        path: The file.
        patches: hospital, patient, slide (text), x, y (int64), label (int8).
        columns: Names of the columns of scores, in the file's order.
        probabilities: The scores, shape (n, columns).
        given: Which of the columns hospital and slide the file has.
        lines: Where in the file each patch stands, shape (n,).
        left_out: Why each of the other columns is no score, by its name.
    """

    path: Path
    patches: pd.DataFrame
    columns: tuple[str, ...]
    probabilities: NDArray[np.float64]
    given: frozenset[str]
    lines: NDArray[np.int64]
    left_out: Mapping[str, str]

    def scores(self, column: str) -> pd.DataFrame:
        """Returns the score frame of one column."""
        return self.patches.assign(probability=self.probabilities[:, self.columns.index(column)])

    def select(self, keep: NDArray[np.bool_]) -> Predictions:
        """Returns some of the patches, shape (n,)."""
        patches = self.patches[keep].reset_index(drop=True)
        return replace(self, patches=patches, probabilities=self.probabilities[keep], lines=self.lines[keep])


def read_prediction_file(path: Path, columns: Sequence[str] = ()) -> Predictions:
    """Reads a file of predictions.

    Args:
        path: A table with a header.
        columns: The columns of scores; none: all that hold probabilities and do not name, place or label a patch.

    Raises:
        BcdError: It cannot be read, lacks a column or a score, or breaks a rule; the row is named as its line.
    """
    table = rename_table_columns(path, read_table_file(path), _NAMES)
    if "name" in table.columns and not {"patient", "x", "y"} <= set(table.columns):
        table = _read_names(path, table)
    missing = [name for name in (*NEEDED, *columns) if name not in table.columns]
    if missing:
        raise BcdError(
            f"{path} lacks the column {', '.join(missing)}.",
            f"It needs {', '.join(NEEDED)} and one or more columns of scores; it has {', '.join(table.columns)}.",
        )
    if table.empty:
        raise BcdError(f"{path} has no row below its header.", "Give a row a patch.")
    others = [name for name in table.columns if name not in {*CELL, "label", "name"}]
    left_out = {} if columns else {name: why for name in others if (why := _why_no_score(name, table[name]))}
    scores = tuple(columns) or tuple(name for name in others if name not in left_out)
    if not scores:
        why = f": {describe_unusable_predictions(left_out)}" if left_out else ""
        raise BcdError(
            f"{path} has no column of probabilities{why}.",
            "Add one or more, with probabilities of IDC in [0, 1], or name columns of scores with --column.",
        )
    return Predictions(
        path=path,
        patches=_read_patches(path, table),
        columns=scores,
        probabilities=np.column_stack([_read_scores(path, table, name) for name in scores]),
        given=frozenset({"hospital", "slide"} & set(table.columns)),
        lines=table.index.to_numpy(dtype=np.int64),
        left_out=left_out,
    )


def describe_unusable_predictions(left_out: Mapping[str, str]) -> str:
    """Names the columns that are no scores, each with the reason."""
    return ", ".join(f"{name} ({why})" for name, why in left_out.items())


def _why_no_score(name: str, texts: pd.Series[str]) -> str:
    """Says why a column holds no probabilities; empty where it does, or where it does but for some faulty rows."""
    if re.sub(r"[\W_]|[0-9]+$", "", name).casefold() in _NO_SCORES:
        return "no score, by its name"
    values = parse_table_numbers(texts)
    numbers = values[~np.isnan(values)]
    if 2 * len(numbers) < len(values):
        return "no numbers"
    low, high = numbers.min(), numbers.max()
    if (numbers == np.round(numbers)).all():
        return "0 and 1 alone, a class" if low >= 0 and high <= 1 else f"whole numbers from {low:g} to {high:g}"
    if 2 * ((numbers >= 0) & (numbers <= 1)).sum() >= len(numbers):
        return ""
    like = f", like logits: {_LOGITS}" if low < 0 else f", like per cent: {_PERCENT}" if high <= 100 else ""
    return f"values from {low:g} to {high:g}{like}"


def _read_names(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    names = read_patch_names(table["name"])
    _refuse_predictions(path, table, "name", ~names["is_patch"], "is not a patch's file name")
    places = names[["patient", "slide", "x", "y"]]
    return table.assign(**places) if "label" in table.columns else table.assign(**places, label=names["label"])


def _read_patches(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    patches = pd.DataFrame(index=table.index)
    for name in SLIDE:
        patches[name] = parse_table_integers(table[name]) if name in table.columns else NAMELESS
        _refuse_predictions(path, table, name, patches[name] == "", "is empty")
    places = {name: parse_table_numbers(parse_table_integers(table[name])) for name in ("x", "y")}
    for name, place in places.items():
        on_grid = is_on_grid(place) & (place <= MAX_PLACE)
        rule = f"is not 1 more than a multiple of {PATCH_PIXELS}, up to {MAX_PLACE:,}"
        _refuse_predictions(path, table, name, ~on_grid, f"{rule}{_how_counted(places)}")
        patches[name] = place.astype(np.int64)
    label = parse_label_texts(table["label"])
    _refuse_predictions(path, table, "label", label.isna(), "is neither 0 nor 1")
    patches["label"] = label.astype("int8")
    twice = patches.duplicated(CELL).to_numpy()
    if twice.any():
        row = int(twice.argmax())
        one = patches.iloc[row]
        same = (patches[CELL] == one[CELL]).all(axis=1).to_numpy()
        raise BcdError(
            f"{path}, lines {table.index[int(same.argmax())]} and {table.index[row]}: the same patch twice"
            f" (patient {one['patient']}, x {one['x']}, y {one['y']}).",
            "Give every patch once; tell hospitals and slides apart with the columns hospital and slide.",
        )
    return patches.reset_index(drop=True)


def _how_counted(places: Mapping[str, NDArray[np.float64]]) -> str:
    """Says how x and y seem to be counted, where that explains all rows."""
    every = np.concatenate(list(places.values()))
    if (every % PATCH_PIXELS == 0).all():
        return "; x and y seem to be pixels counted from 0: add 1"
    if (every == np.round(every)).all() and every.max() <= MAX_PLACE / PATCH_PIXELS:
        return "; x and y seem to count patches, not pixels"
    return ""


def _read_scores(path: Path, table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    scores = parse_table_numbers(table[name])
    fix = f"Fix the file, or name the columns of scores with --column if {name} is none of them"
    if (scores < 0).any() or (scores > 1).any():
        fix = f"If these are logits, {_LOGITS}; if per cent, {_PERCENT}. {fix}"
    _refuse_predictions(
        path, table, name, ~((scores >= 0) & (scores <= 1)), "is not a probability in [0, 1]", fix=fix
    )
    return scores


def _refuse_predictions(
    path: Path,
    table: pd.DataFrame,
    column: str,
    broken: NDArray[np.bool_] | pd.Series[bool],
    rule: str,
    *,
    fix: str = "Fix the file",
) -> None:
    rows = np.flatnonzero(np.asarray(broken))
    if len(rows):
        more = f" (and {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
        found = str(table[column].iloc[rows[0]])[:40]
        raise BcdError(f"{path}, line {table.index[rows[0]]}: {column} {found!r} {rule}{more}.", f"{fix}.")
