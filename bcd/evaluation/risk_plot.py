"""The risk-coverage curve as a picture: how the error among the kept patches rises as more of them are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bcd.evaluation.report import Evaluation
from bcd.evaluation.style import BLUE, INK, MUTED, page
from bcd.evaluation.tables import describe, format_estimate, format_level

if TYPE_CHECKING:
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
    with page(path, title="Risk and coverage", note=describe(evaluation), size=(7.2, 4.2)) as figure:
        axes = figure.subplots()
        areas = f"AURC {format_estimate(curve.aurc)}\nAUGRC {format_estimate(curve.augrc)}"
        axes.plot(
            [100 * point.coverage for point in points],
            [100 * (point.risk.value or 0) for point in points],
            color=BLUE,
            label=f"patches that are wrong, of those kept\n{areas}",
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
            xlabel="coverage: patches kept, the most confident first (per cent)",
            ylabel="error among the kept (per cent)",
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
