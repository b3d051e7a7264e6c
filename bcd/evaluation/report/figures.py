"""The pictures of an evaluation: curves, reliability, confusion, risk and coverage, thresholds, patients.

Examples:
        figures = draw_figures(scores, evaluation, folder)  # {"curves": folder / "curves.png", …}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bcd.charts import BLUE, GREEN, MUTED, ORANGE, page
from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.report.curves import draw_risk_coverage, draw_roc_and_precision
from bcd.evaluation.report.forest import draw_patient_forest
from bcd.evaluation.report.reliability import draw_confusion, draw_reliability
from bcd.evaluation.report.tables import METRIC_NAMES, describe_evaluation
from bcd.formats import NOT_AVAILABLE, format_estimate, format_level

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PICTURES = {
    "curves": "ROC curve (recall over 1 minus specificity) and precision-recall curve, with bands by patient",
    "reliability": "Observed share of IDC over the predicted probability, and how many patches have it",
    "confusion": "Patches by their label and by what they are called",
    "risk-coverage": "Error among the confident patches over their share of all, the most confident first",
    "thresholds": "Accuracy and share of the confident patches at each confidence level, with intervals",
    "patients": "AUROC and accuracy of each patient, one below the other, under those of all patients",
}
"""The pictures by name, in the order in which they are shown, and what each shows."""

_FIGURES = {
    "curves": ("auroc", "auprc"),
    "reliability": ("brier", "ece"),
    "confusion": ("recall", "specificity"),
    "patients": ("auroc", "accuracy"),
}
"""Pooled figures that tell in words what a picture shows."""


def describe_evaluation_picture(name: str, evaluation: Evaluation | None) -> str:
    """Says what a picture shows, with its chief figures where the evaluation is known."""
    if evaluation is None or name not in _FIGURES:
        return PICTURES[name]
    figures = (f"{METRIC_NAMES[metric]} {format_estimate(evaluation.pooled[metric])}" for metric in _FIGURES[name])
    return f"{PICTURES[name]}; over all patches: {', '.join(figures)}"


def draw_evaluation(scores: pd.DataFrame, evaluation: Evaluation, folder: Path) -> dict[str, Path]:
    """Draws every picture of an evaluation into `folder`.

    Args:
        scores: The score frame that was evaluated.
        evaluation: What `evaluate_scores` made of it.
        folder: Where the PNG files go.

    Returns:
        The files, by name of the picture.
    """
    paths = {name: folder / f"{name}.png" for name in PICTURES}
    draw_roc_and_precision(scores, evaluation, paths["curves"])
    draw_reliability(scores, evaluation, paths["reliability"])
    draw_confusion(evaluation, paths["confusion"])
    draw_risk_coverage(evaluation, paths["risk-coverage"])
    draw_thresholds(evaluation, paths["thresholds"])
    draw_patient_forest(evaluation, paths["patients"])
    return paths


def draw_thresholds(evaluation: Evaluation, path: Path) -> None:
    """Draws how accurate the confident patches are, and how much is confident, by confidence level."""
    rows = evaluation.thresholds
    with page(
        path,
        title="How many patches are confident, and how accurate they are",
        note=describe_evaluation(evaluation),
        size=(7.2, 5),
    ) as figure:
        above, below = figure.subplots(2, 1, sharex=True)
        marks = [100 * row.level for row in rows]
        above.plot(marks, color=MUTED, marker="_", markersize=22, linestyle="", label="the confidence itself")
        _draw_series(
            above, 0, [row.accuracy for row in rows], label="accuracy of confident patches", color=BLUE, marker="o"
        )
        _draw_series(
            below,
            -0.06,
            [row.coverage for row in rows],
            label="confident, of all patches",
            color=ORANGE,
            marker="s",
        )
        _draw_series(
            below,
            0.06,
            [row.recall_of_all for row in rows],
            label="confident and found, of all IDC",
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
        below.set_xlabel("confidence (calibrated probability of the likelier class), and what is confident at it")


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
