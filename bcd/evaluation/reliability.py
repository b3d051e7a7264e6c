"""Reliability: the share of IDC among patches of like probability, before and after calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.evaluation.bootstrap import draw_resamples
from bcd.evaluation.calibration import sigmoid
from bcd.evaluation.estimates import Estimate
from bcd.evaluation.metrics import make_estimate, ratio
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.ranking import divide
from bcd.evaluation.report import Evaluation
from bcd.evaluation.sample import Sample, read_sample
from bcd.evaluation.style import BLUE, MUTED, ORANGE, page
from bcd.evaluation.tables import describe
from bcd.evaluation.tallies import BINS, tally

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ReliabilityBin:
    """Patches of similar probability.

    Attributes:
        patches: How many there are.
        predicted: Their mean probability.
        observed: The share of them that is IDC; n/a under the minimums of the options.
    """

    patches: int
    predicted: float
    observed: Estimate


def reliability(sample: Sample, options: EvaluateOptions) -> list[ReliabilityBin]:
    """Groups a sample into bins of equal width and returns those that hold a patch."""
    patches, positive, probability = tally(sample).bins()
    weights = draw_resamples(len(sample.patients), options)
    predicted = divide(probability.sum(axis=0), patches.sum(axis=0))
    return [
        ReliabilityBin(
            patches=int(patches[:, i].sum()),
            predicted=float(predicted[i]),
            observed=make_estimate(ratio(positive[:, i], patches[:, i]), weights, patches[:, i], options),
        )
        for i in range(BINS)
        if patches[:, i].any()
    ]


def draw_reliability(scores: pd.DataFrame, evaluation: Evaluation, path: Path) -> None:
    """Draws observed against predicted share of IDC; also before calibration, if the frame has the logits."""
    after = read_sample(scores)
    calibrated = "logit" in scores.columns
    series = [("after calibration" if calibrated else "as given", after, BLUE, "o")]
    if calibrated:
        before = replace(after, probability=sigmoid(scores["logit"]))
        series.insert(0, ("before calibration", before, ORANGE, "s"))
    with page(path, title="Reliability", note=describe(evaluation), size=(6, 5.6)) as figure:
        axes, counts = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", label="perfect")
        for index, (label, sample, color, marker) in enumerate(series):
            bins = reliability(sample, evaluation.options)
            _draw_bins(axes, bins, label, color, marker)
            x = (np.floor([b.predicted * BINS for b in bins]) + 0.3 + 0.4 * index) / BINS
            counts.bar(x, [b.patches for b in bins], width=0.035, color=color)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed share of IDC")
        axes.legend(loc="upper left")
        counts.set(xlabel="predicted probability of IDC", ylabel="patches", yscale="log")
        counts.set_ylim(bottom=1)
        counts.yaxis.set_major_formatter("{x:,.0f}")


def _draw_bins(axes: Axes, bins: list[ReliabilityBin], label: str, color: str, marker: str) -> None:
    x = [b.predicted for b in bins]
    y = [np.nan if b.observed.value is None else b.observed.value for b in bins]  # n/a interrupts the line
    axes.plot(x, y, color=color, marker=marker, markersize=5, linewidth=1, label=label)
    for b in bins:
        if b.observed.low is not None and b.observed.high is not None:
            axes.vlines(b.predicted, b.observed.low, b.observed.high, color=color, linewidth=1.2)
