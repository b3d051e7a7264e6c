"""The pictures of an evaluation: ROC and precision-recall, reliability, thresholds, patients.

Example:
    figures = draw_figures(scores, evaluation, folder)  # {"curves": folder / "curves.png", …}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.evaluation.estimates import Estimate
from bcd.evaluation.report import Evaluation, PatientRow
from bcd.evaluation.sample import Sample, read_sample
from bcd.evaluation.style import BLUE, GREEN, INK, MUTED, ORANGE, page
from bcd.evaluation.tables import METRIC_NAMES, NOT_AVAILABLE, describe, format_estimate, format_level

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bcd.evaluation.bootstrap import Array

_MOST_PATIENTS = 40
"""Patients shown by name; of more, those with the lowest accuracy."""


def draw_figures(scores: pd.DataFrame, evaluation: Evaluation, folder: Path) -> dict[str, Path]:
    """Draws every picture of an evaluation into `folder`.

    Args:
        scores: The score frame that was evaluated.
        evaluation: What `evaluate_scores` made of it.
        folder: Where the PNG files go.

    Returns:
        The files, by name of the picture.
    """
    from bcd.evaluation.reliability import draw_reliability

    paths = {name: folder / f"{name}.png" for name in ("curves", "reliability", "thresholds", "patients")}
    draw_curves(scores, evaluation, paths["curves"])
    draw_reliability(scores, evaluation, paths["reliability"])
    draw_thresholds(evaluation, paths["thresholds"])
    draw_patients(evaluation, paths["patients"])
    return paths


def draw_curves(scores: pd.DataFrame, evaluation: Evaluation, path: Path) -> None:
    """Draws the ROC and the precision-recall curve, with and without the largest patient."""
    sample = read_sample(scores)
    rest = sample.without(sample.largest) if evaluation.without_largest else None
    with page(path, title="ROC and precision-recall", note=describe(evaluation), size=(8.4, 4)) as figure:
        roc, pr = figure.subplots(1, 2)
        for axes, metric in ((roc, "auroc"), (pr, "auprc")):
            _draw_curve(axes, metric, sample, evaluation.pooled[metric], "pooled", color=BLUE)
            if rest is not None:
                estimate = evaluation.without_largest[metric]
                label = f"without {evaluation.largest_patient}"
                _draw_curve(axes, metric, rest, estimate, label, color=ORANGE, linestyle="--")
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        roc.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", label="by chance")
        pr.axhline(evaluation.prevalence, color=MUTED, linewidth=0.8, linestyle=":", label="by chance")
        roc.set(xlabel="1 − specificity", ylabel="recall (sensitivity)")  # noqa: RUF001
        pr.set(xlabel="recall (sensitivity)", ylabel="precision")
        roc.legend(loc="lower right")
        pr.legend(loc="lower left")


def _draw_curve(axes: Axes, metric: str, sample: Sample, estimate: Estimate, label: str, **look: Any) -> None:
    points = _roc_points(sample) if metric == "auroc" else _pr_points(sample)
    if points is None:
        return
    text = f"{label}\n{METRIC_NAMES[metric]} {format_estimate(estimate)}"
    style = "default" if metric == "auroc" else "steps-pre"
    axes.plot(*points, drawstyle=style, label=text, **look)


def _cumulated(sample: Sample) -> tuple[Array, Array]:
    order = np.argsort(-sample.probability, kind="stable")
    last = np.append(np.diff(sample.probability[order]) != 0, True)  # ties are one step
    true = np.cumsum(sample.positive[order])[last].astype(np.float64)
    false = np.cumsum(~sample.positive[order])[last].astype(np.float64)
    return true, false


def _roc_points(sample: Sample) -> tuple[Array, Array] | None:
    true, false = _cumulated(sample)
    if true[-1] == 0 or false[-1] == 0:
        return None
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def _pr_points(sample: Sample) -> tuple[Array, Array] | None:
    true, false = _cumulated(sample)
    return None if true[-1] == 0 else (true / true[-1], true / (true + false))


def draw_thresholds(evaluation: Evaluation, path: Path) -> None:
    """Draws how accurate the kept patches are, and how much is kept, by confidence level."""
    rows = evaluation.thresholds
    with page(path, title="What is decided, and how well", note=describe(evaluation), size=(7.2, 5)) as figure:
        above, below = figure.subplots(2, 1, sharex=True)
        marks = [100 * row.level for row in rows]
        above.plot(marks, color=MUTED, marker="_", markersize=22, linestyle="", label="the confidence itself")
        _draw_series(
            above, 0, [row.accuracy for row in rows], label="accuracy of what is kept", color=BLUE, marker="o"
        )
        _draw_series(
            below,
            -0.06,
            [row.coverage for row in rows],
            label="kept, of all patches",
            color=ORANGE,
            marker="s",
        )
        _draw_series(
            below,
            0.06,
            [row.recall_of_all for row in rows],
            label="kept and found, of all IDC",
            color=GREEN,
            marker="^",
        )
        for axes in (above, below):
            axes.set_ylabel("per cent")
            axes.grid(visible=False, axis="x")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
        below.set(xlim=(-0.4, len(rows) - 0.6), ylim=(-3, 103))
        ticks = [f"≥ {format_level(row.level)}\n{row.n:,} patches\n{row.patients} patients" for row in rows]
        below.set_xticks(range(len(rows)), ticks)
        below.set_xlabel("confidence (calibrated probability of the likelier class), and what is kept at it")


def _draw_series(axes: Axes, shift: float, estimates: list[Estimate], *, label: str, color: str, marker: str) -> None:
    known = [(x + shift, 100 * e.value) for x, e in enumerate(estimates) if e.value is not None]
    axes.plot(
        [x for x, _ in known],
        [y for _, y in known],
        color=color,
        marker=marker,
        markersize=5,
        linewidth=0.9,
        label=label,
    )
    for x, e in enumerate(estimates):
        if e.value is None:
            axes.annotate(
                NOT_AVAILABLE,
                (x + shift, 0.06),
                xycoords=("data", "axes fraction"),
                color=color,
                fontsize=8,
                ha="center",
            )
        elif e.low is not None and e.high is not None:
            axes.vlines(x + shift, 100 * e.low, 100 * e.high, color=color, linewidth=1.6)


def draw_patients(evaluation: Evaluation, path: Path) -> None:
    """Draws AUROC and accuracy of each patient below the pooled and the patient-macro figures."""
    shown = sorted(evaluation.per_patient, key=lambda row: row.accuracy)[:_MOST_PATIENTS]
    all_shown = len(shown) == evaluation.n_patients
    title = "Patients" if all_shown else f"The {len(shown)} patients with the lowest accuracy"
    views = {"pooled": evaluation.pooled, "patient-macro": evaluation.patient_macro}
    if evaluation.without_largest:
        views[f"without {evaluation.largest_patient}"] = evaluation.without_largest
    names = [*views, *(f"{row.hospital}/{row.patient}  ({row.patches:,})" for row in shown)]
    height = 1.0 + 0.17 * len(names)
    with page(path, title=title, note=describe(evaluation), size=(7.2, height)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric in zip(panels, ("auroc", "accuracy"), strict=True):
            for y, estimates in enumerate(views.values()):
                _draw_estimate(axes, y, estimates[metric])
            _draw_dots(axes, len(views), shown, metric)
            axes.axhline(len(views) - 0.5, color=MUTED, linewidth=0.8)
            axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(min(axes.get_xlim()[0], 0.795), 1.015))
        panels[0].set_yticks(range(len(names)), names, fontsize=7.5)
        panels[0].set_ylabel("hospital/patient (patches,\nalso the area of the dot)")
        panels[0].set_xlabel("AUROC (n/a: one class only)")
        panels[1].set_xlabel("accuracy")


def _draw_estimate(axes: Axes, y: int, estimate: Estimate) -> None:
    if estimate.value is None:
        _write_not_available(axes, y)
        return
    axes.plot(estimate.value, y, marker="D", markersize=4, color=INK)
    if estimate.low is not None and estimate.high is not None:
        axes.hlines(y, estimate.low, estimate.high, color=INK, linewidth=1.6)


def _draw_dots(axes: Axes, first: int, rows: list[PatientRow], metric: str) -> None:
    most = max(row.patches for row in rows)
    for y, row in enumerate(rows, start=first):
        value = getattr(row, metric)
        if value is None:
            _write_not_available(axes, y)
        else:
            axes.scatter(value, y, s=12 + 110 * row.patches / most, color=BLUE, edgecolors="white", linewidths=0.5)


def _write_not_available(axes: Axes, y: int) -> None:
    axes.annotate(NOT_AVAILABLE, (0.02, y), xycoords=("axes fraction", "data"), color=MUTED, fontsize=7, va="center")
