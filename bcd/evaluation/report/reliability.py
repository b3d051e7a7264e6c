"""Reliability: the share of IDC among patches of like probability, before and after calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.charts import BLUE, INK, MUTED, ORANGE, page
from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.intervals import draw_resamples
from bcd.evaluation.metrics.metrics import make_estimate, ratio
from bcd.evaluation.metrics.ranking import divide
from bcd.evaluation.metrics.sample import Sample, make_evaluation_sample
from bcd.evaluation.metrics.tallies import BINS, tally_by_patient
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import sigmoid
from bcd.evaluation.report.tables import describe_evaluation
from bcd.formats import format_estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SHADES = ("#FFFFFF", "#0072B2")


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draws how the patches of each label are called, at a probability of one half."""
    from matplotlib.colors import LinearSegmentedColormap

    positive = sum(row.positive for row in evaluation.per_patient)
    called = sum(row.predicted_positive for row in evaluation.per_patient)
    recall, n = evaluation.pooled["recall"], evaluation.n_patches
    tp = sum(_true_positives(row.positive, row.recall) for row in evaluation.per_patient)
    counts = [[tp, positive - tp], [called - tp, n - positive - called + tp]]
    labels = [f"labelled IDC\nrecall {format_estimate(recall)}"]
    labels.append(f"labelled none\nspecificity {format_estimate(evaluation.pooled['specificity'])}")
    called_as = [f"called IDC\nprecision {format_estimate(evaluation.pooled['precision'])}"]
    called_as.append(f"called none\nNPV {format_estimate(evaluation.pooled['npv'])}")
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    with page(path, title="Confusion", note=describe_evaluation(evaluation), size=(6.4, 3.6)) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("share", _SHADES), vmin=0, vmax=1, aspect="auto")
        for y, row in enumerate(counts):
            for x, count in enumerate(row):
                text = f"{count:,}\n{100 * shares[y][x]:.1f} % of the label"
                axes.text(
                    x, y, text, ha="center", va="center", fontsize=11, color="white" if shares[y][x] > 0.55 else INK
                )
        axes.set_xticks([0, 1], called_as)
        axes.set_yticks([0, 1], labels)
        axes.xaxis.tick_top()
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def _true_positives(positive: int, recall: float | None) -> int:
    return 0 if recall is None else round(positive * recall)


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
    patches, positive, probability = tally_by_patient(sample).bins()
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
    after = make_evaluation_sample(scores)
    calibrated = "logit" in scores.columns
    series = [("after calibration" if calibrated else "as given", after, BLUE, "o")]
    if calibrated:
        before = replace(after, probability=sigmoid(scores["logit"]))
        series.insert(0, ("before calibration", before, ORANGE, "s"))
    with page(path, title="Reliability", note=describe_evaluation(evaluation), size=(6, 5.6)) as figure:
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
