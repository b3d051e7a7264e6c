"""ROC and precision-recall curves with bands: where the curve of other patients of this kind would run.

A band is pointwise: at each place on the horizontal axis, the middle 95 % (or as the options say) of the curves of
the resamples, drawn by patient. Scores are grouped into at most 1,000 steps for it, so that a resample is a matrix
product.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bcd.charts import BLUE, INK, MUTED, ORANGE, page
from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.intervals import Array, draw_resamples
from bcd.evaluation.metrics.ranking import divide
from bcd.evaluation.metrics.sample import Sample, make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.report.tables import METRIC_NAMES, describe_evaluation
from bcd.formats import format_estimate, format_level

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_LEAST_GAP = 9.0
"""Coverage between two levels that are both named, in per cent."""


def draw_risk_coverage(evaluation: Evaluation, path: Path) -> None:
    """Draws the curve with its intervals, and where the levels of the threshold table lie on it.

    Args:
        evaluation: What was found.
        path: The PNG file.
    """
    curve = evaluation.selective
    points = [point for point in curve.points if point.risk.value is not None]
    with page(path, title="Risk and coverage", note=describe_evaluation(evaluation), size=(7.2, 4.2)) as figure:
        axes = figure.subplots()
        areas = f"AURC {format_estimate(curve.aurc)}\nAUGRC {format_estimate(curve.augrc)}"
        axes.plot(
            [100 * point.coverage for point in points],
            [100 * (point.risk.value or 0) for point in points],
            color=BLUE,
            label=f"patches that are wrong, of the confident\n{areas}",
        )
        known = [point for point in points if point.risk.low is not None and point.risk.high is not None]
        axes.fill_between(
            [100 * point.coverage for point in known],
            [100 * (point.risk.low or 0) for point in known],
            [100 * (point.risk.high or 0) for point in known],
            color=BLUE,
            alpha=0.18,
            linewidth=0,
        )
        _mark_levels(axes, evaluation)
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.set(
            xlim=(-1, 101),
            ylim=(-0.5, None),
            xlabel="coverage: confident patches, the most confident first (per cent)",
            ylabel="error among the confident (per cent)",
        )
        axes.legend(loc="upper center")


def _mark_levels(axes: Axes, evaluation: Evaluation) -> None:
    labelled = 100.0 + _LEAST_GAP
    for row in evaluation.thresholds:
        if row.accuracy.value is None or row.coverage.value is None:
            continue
        coverage, error = 100 * row.coverage.value, 100 * (1 - row.accuracy.value)
        axes.plot(coverage, error, marker="o", markersize=5, color=INK)
        if labelled - coverage >= _LEAST_GAP:  # the strictest levels keep next to nothing, one beside the other
            labelled = coverage
            text = f"≥ {format_level(row.level)}"
            axes.annotate(text, (coverage, error), (0, 8), textcoords="offset points", ha="center", fontsize=8)


Kind = Literal["roc", "pr"]

_STEPS = 1000
_ROWS = 200  # resamples at a time: bounds memory
_PLACES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Band:
    """A pointwise band around a curve; NaN where the curve is undefined.

    Attributes:
        x: Places on the horizontal axis, shape (places,).
        low: Lower end, shape (places,).
        high: Upper end, shape (places,).
    """

    x: Array
    low: Array
    high: Array


def curve_points(kind: Kind, sample: Sample) -> tuple[Array, Array] | None:
    """Returns x and y of a curve: (1 - specificity, recall) or (recall, precision); None with one class only."""
    order = np.argsort(-sample.probability, kind="stable")
    last = np.append(np.diff(sample.probability[order]) != 0, True)  # ties are one step
    true = np.cumsum(sample.positive[order])[last].astype(np.float64)
    false = np.cumsum(~sample.positive[order])[last].astype(np.float64)
    if true[-1] == 0 or (kind == "roc" and false[-1] == 0):
        return None
    if kind == "roc":
        return np.append(0, false / false[-1]), np.append(0, true / true[-1])
    return true / true[-1], true / (true + false)


def make_band(kind: Kind, sample: Sample, options: EvaluateOptions) -> Band | None:
    """Makes the band of a curve by resampling patients; None under the minimums of the options."""
    n_patients = len(sample.patients)
    if n_patients < options.min_patients or not 0 < sample.positive.sum() < len(sample.positive):
        return None
    true, false = _by_step(sample)
    weights = draw_resamples(n_patients, options)
    curves = np.empty((len(weights), len(_PLACES)))
    for start in range(0, len(weights), _ROWS):
        rows = slice(start, start + _ROWS)
        tp, fp = (weights[rows] @ true).cumsum(axis=1), (weights[rows] @ false).cumsum(axis=1)
        recall = divide(tp, np.broadcast_to(tp[:, -1:], tp.shape))
        x, y = (divide(fp, np.broadcast_to(fp[:, -1:], fp.shape)), recall)
        if kind == "pr":
            x, y = recall, divide(tp, tp + fp)
        curves[rows] = [_read_at(kind, *pair) for pair in zip(x, y, strict=True)]
    tail = (1 - options.confidence) / 2
    low, high = np.nanquantile(curves, [tail, 1 - tail], axis=0)
    return Band(_PLACES, low, high)


def _by_step(sample: Sample) -> tuple[Array, Array]:
    """Counts each patient's patches of each class by step of the score, from the highest on."""
    scores = np.unique(sample.probability)[::-1]
    if len(scores) > _STEPS:
        scores = np.unique(np.quantile(sample.probability, np.linspace(0, 1, _STEPS), method="nearest"))[::-1]
    step = np.searchsorted(-scores, -sample.probability, side="left").clip(max=len(scores) - 1)
    shape = (len(sample.patients), len(scores))
    cell = sample.patient * len(scores) + step
    true = np.bincount(cell[sample.positive], minlength=shape[0] * shape[1]).reshape(shape)
    false = np.bincount(cell[~sample.positive], minlength=shape[0] * shape[1]).reshape(shape)
    return true.astype(np.float64), false.astype(np.float64)


def _read_at(kind: Kind, x: Array, y: Array) -> Array:
    """Reads one curve at the places: a line from (0, 0) for ROC, steps for precision."""
    if np.isnan(x[-1]):
        return np.full(len(_PLACES), np.nan)
    if kind == "roc":
        return np.asarray(np.interp(_PLACES, np.append(0, x), np.append(0, y)))
    return np.asarray(y[np.searchsorted(x, _PLACES - 1e-12).clip(max=len(x) - 1)])


def draw_roc_and_precision(scores: pd.DataFrame, evaluation: Evaluation, path: Path) -> None:
    """Draws the ROC and the precision-recall curve with their bands, and without the largest patient."""
    sample = make_evaluation_sample(scores)
    rest = sample.without(sample.largest) if evaluation.without_largest else None
    with page(path, title="ROC and precision-recall", note=describe_evaluation(evaluation), size=(8.4, 4)) as figure:
        panels = figure.subplots(1, 2)
        kinds: tuple[tuple[Kind, str], ...] = (("roc", "auroc"), ("pr", "auprc"))
        for axes, (kind, metric) in zip(panels, kinds, strict=True):
            band = make_band(kind, sample, evaluation.options)
            if band is not None:
                axes.fill_between(band.x, band.low, band.high, color=BLUE, alpha=0.18, linewidth=0)
            _draw_curve(axes, kind, sample, _label_curve("pooled", metric, evaluation.pooled), color=BLUE)
            if rest is not None:
                label = _label_curve(
                    f"leave-one-patient-out ({evaluation.largest_patient})", metric, evaluation.without_largest
                )
                _draw_curve(axes, kind, rest, label, color=ORANGE, linestyle="--")
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        roc, pr = panels
        roc.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", label="by chance")
        pr.axhline(evaluation.prevalence, color=MUTED, linewidth=0.8, linestyle=":", label="by chance")
        roc.set(xlabel="1 − specificity", ylabel="recall (sensitivity)")  # noqa: RUF001
        pr.set(xlabel="recall (sensitivity)", ylabel="precision")
        roc.legend(loc="lower right")
        pr.legend(loc="lower left")


def _label_curve(name: str, metric: str, estimates: dict[str, Estimate]) -> str:
    return f"{name}\n{METRIC_NAMES[metric]} {format_estimate(estimates[metric])}"


def _draw_curve(axes: Axes, kind: Kind, sample: Sample, label: str, **look: Any) -> None:
    points = curve_points(kind, sample)
    if points is not None:
        axes.plot(*points, drawstyle="default" if kind == "roc" else "steps-pre", label=label, **look)
