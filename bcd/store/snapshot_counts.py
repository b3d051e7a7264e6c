"""Counts of a snapshot's patches: by split, class, hospital, batch or patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Counts = dict[str, dict[str, int]]
"""For each group, how many `patients`, `patches` and `positive`."""


def patient_keys(patches: pd.DataFrame) -> pd.Series[str]:
    """Returns "hospital/patient" for each patch."""
    return patches["hospital"].astype(str) + "/" + patches["patient"].astype(str)


def count_by(patches: pd.DataFrame, by: str | pd.Series[str]) -> pd.DataFrame:
    """Returns patients, patches and positive for each value of a column, or of a series beside the patches."""
    keys = patient_keys(patches)
    grouped = patches[["label"]].assign(key=keys.factorize()[0]).groupby(patches[by] if isinstance(by, str) else by)
    counts = grouped.agg(patients=("key", "nunique"), patches=("key", "size"), positive=("label", "sum"))
    return counts.astype("int64")
