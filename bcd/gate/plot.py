"""The forest plot of a verdict: every difference with its interval, and the side on which it must not lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.charts import BLUE, INK, MUTED, ORANGE, page
from bcd.evaluation.report.tables import METRIC_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from bcd.gate.verdict import Check, Verdict

_NAMES = METRIC_NAMES | {
    "not worse": "AUROC itself",
    "calibration": "calibration error, shrunk (less is better)",
    "coverage": "coverage at 95 %, shrunk",
    "patients": "accuracy of whom it serves worst, shrunk",
}
_LOOKS = {
    "holds, needed": (BLUE, "o", BLUE),
    "does not hold, needed": (ORANGE, "D", ORANGE),
    "holds, reported only": (BLUE, "o", "white"),
    "does not hold, reported only": (ORANGE, "D", "white"),
}
"""Colour, marker and filling of each outcome, so that print without colour tells them apart too."""


def draw_gate_checks(verdict: Verdict, path: Path) -> Path | None:
    """Draws the differences of a verdict; returns the picture, or None where nothing was compared."""
    drawn = [check for check in verdict.checks if check.low is not None and check.value is not None]
    if not drawn:
        return None
    evidence = verdict.check("evidence").text
    size = (7.6, 1.0 + 0.3 * len(drawn))
    with page(path, title=f"{verdict.title}, rule {verdict.rule}", note=evidence, size=size) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for y, check in enumerate(drawn):
            _draw_check(axes, y, check)
        _shade_margins(axes, drawn)
        axes.set_yticks(range(len(drawn)), [_name_check(check) for check in drawn], color=INK)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_xlabel("challenger − champion")  # noqa: RUF001
        axes.grid(visible=False, axis="y")
        axes.fill_between([], [], color=ORANGE, alpha=0.12, label="where it must not lie; if shrunk, its point")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.5 / (0.3 * len(drawn))), ncols=2, borderaxespad=0)
    return path


def _draw_check(axes: Axes, y: int, check: Check) -> None:
    outcome = f"{'holds' if check.passed else 'does not hold'}, {'needed' if check.enforced else 'reported only'}"
    colour, marker, filling = _LOOKS[outcome]
    known = axes.get_legend_handles_labels()[1]
    # "not worse" is of the value only.
    if check.name != "not worse" and check.low is not None and check.high is not None:
        axes.hlines(y, check.low, check.high, color=colour, linewidth=1.6)
    axes.plot(
        check.value or 0.0,
        y,
        linestyle="",
        marker=marker,
        color=colour,
        markerfacecolor=filling,
        markersize=6,
        zorder=3,  # above the limit
        label=None if outcome in known else outcome,
    )


def _shade_margins(axes: Axes, drawn: list[Check]) -> None:
    """Shades, in each row, where the figure must not lie: beyond its limit."""
    left, right = axes.get_xlim()
    limits = [check.limit for check in drawn if check.limit is not None]
    left, right = min([left, *(limit - 0.01 for limit in limits)]), max([right, *(limit + 0.01 for limit in limits)])
    for y, check in enumerate(drawn):
        if check.limit is not None:
            start, end = (check.limit, right) if check.limit > 0 else (left, check.limit)
            axes.fill_betweenx([y - 0.42, y + 0.42], start, end, color=ORANGE, alpha=0.12, linewidth=0)
            axes.vlines(check.limit, y - 0.42, y + 0.42, color=ORANGE, linewidth=1.2)
    axes.set_xlim(left, right)


def _name_check(check: Check) -> str:
    name = check.name.removeprefix("anchor ")
    if name != check.name:
        return f"{_name_check(check.model_copy(update={'name': name}))}, against the anchor"
    if check.name.startswith("hospital "):
        return f"AUROC at {check.name.removeprefix('hospital ')}, shrunk"
    return _NAMES.get(check.name, check.name)
