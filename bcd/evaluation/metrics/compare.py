"""Two models on the same patches: differences with intervals by patient, the same patients drawn or left out in both.

Examples:
        differences = compare_scores(champion_scores, challenger_scores, EvaluateOptions())
        differences["auroc"].low  # above -margin: the challenger is not worse by the margin
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bcd.errors import BcdError
from bcd.evaluation.metrics.estimates import Difference
from bcd.evaluation.metrics.intervals import Array, Interval, interval, metric_of_sample
from bcd.evaluation.metrics.metrics import Resampled, find_metric_patches, measure_leverage
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions
from bcd.patches import CELL, SLIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

COMPARED = ("auroc", "accuracy", "recall", "specificity", "brier")
"""Metrics that two models are compared on; for brier, less is better."""


def compare_metrics(
    a: pd.DataFrame, b: pd.DataFrame, options: EvaluateOptions, metrics: Sequence[str] = COMPARED
) -> dict[str, Difference]:
    """Compares two score frames of the same patches, in any order of rows.

    Args:
        a: Scores of the model compared with (such as the champion).
        b: Scores of the model in question (such as the challenger).
        options: Resamples, confidence and minimums (under them a difference has no interval).
        metrics: Which of `COMPARED`.

    Returns:
        b minus a, by metric.

    Raises:
        BcdError: The frames do not hold the same patches with the same labels, or cannot be read.
    """
    a, b = _by_key(a), _by_key(b)
    _require_same_patches(a, b)
    first = Resampled.of(make_evaluation_sample(a), options)
    second = Resampled.of(make_evaluation_sample(b), options)
    same = bool(np.array_equal(first.sample.probability, second.sample.probability))
    return {metric: _difference(metric, first, second, same) for metric in metrics}


def _difference(metric: str, a: Resampled, b: Resampled, same: bool) -> Difference:
    def statistic(weights: Array) -> Array:
        return b.values(metric, weights) - a.values(metric, weights)

    value = metric_of_sample(statistic, len(a.sample.patients))
    patches: Array = find_metric_patches(metric, a.tallies)
    n_patches, n_patients = int(patches.sum()), int(np.count_nonzero(patches))
    ends: Interval = (None, None, 0)
    if n_patches >= a.options.min_patches and n_patients >= a.options.min_patients and not np.isnan(value):
        leverage = measure_leverage(metric, a.tallies)
        ends = interval(statistic, a.weights, leverage, a.options, n_patients=n_patients, signed=True)
    low, high, dropped = (0.0, 0.0, 0) if same and ends[0] is not None else ends
    return Difference(
        value=None if np.isnan(value) else value,
        low=low,
        high=high,
        n_patches=n_patches,
        n_patients=n_patients,
        dropped=dropped,
    )


def _by_key(scores: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in [*CELL, "label"] if column not in scores.columns]
    if missing:
        raise BcdError(f"The scores lack the column {', '.join(missing)}.", f"Give the columns {', '.join(CELL)}.")
    texts = {column: scores[column].astype(str) for column in SLIDE}
    return scores.assign(**texts).sort_values(CELL, ignore_index=True)


def _require_same_patches(a: pd.DataFrame, b: pd.DataFrame) -> None:
    for scores in (a, b):
        twice = scores[scores.duplicated(CELL)]
        if len(twice):
            name = "/".join(str(part) for part in twice.iloc[0][CELL])
            raise BcdError(f"Patch {name} is scored twice in one frame.", "Give every patch once.")
    merged = a[CELL].merge(b[CELL], how="outer", indicator=True)
    alone = merged[merged["_merge"] != "both"]
    if len(alone):
        name = "/".join(str(part) for part in alone.iloc[0][CELL])
        raise BcdError(
            f"The models were not scored on the same patches: {len(alone)} differ, such as {name}.",
            "Score both on the same snapshot.",
        )
    if not np.array_equal(a["label"].to_numpy(dtype=np.float64), b["label"].to_numpy(dtype=np.float64)):
        raise BcdError("The two score frames disagree about labels.", "Score both on the same snapshot.")
