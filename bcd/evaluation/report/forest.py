"""Forest plots: the patients one below the other, and differences between models with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.charts import BLUE, INK, MUTED, page
from bcd.evaluation.evaluation import Evaluation, PatientRow
from bcd.evaluation.metrics.estimates import Difference, Estimate
from bcd.evaluation.report.tables import METRIC_NAMES, describe_evaluation
from bcd.formats import NOT_AVAILABLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_PATIENTS = 40
"""Patients shown by name; of more, those with the lowest accuracy."""


def draw_patient_forest(evaluation: Evaluation, path: Path) -> None:
    """Draws AUROC and accuracy of each patient below those of the sample, seen in several ways."""
    shown = sorted(evaluation.per_patient, key=lambda row: row.accuracy)[:_MOST_PATIENTS]
    all_shown = len(shown) == evaluation.n_patients
    title = "Patients" if all_shown else f"The {len(shown)} patients with the lowest accuracy"
    subgroups = _list_forest_subgroups(evaluation)
    names = [*subgroups, *(f"{row.hospital}/{row.patient}  ({row.patches:,})" for row in shown)]
    height = 1.0 + 0.17 * len(names)
    with page(path, title=title, note=describe_evaluation(evaluation), size=(7.2, height)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric in zip(panels, ("auroc", "accuracy"), strict=True):
            for y, estimates in enumerate(subgroups.values()):
                _draw_estimate(axes, y, estimates[metric])
            _draw_dots(axes, len(subgroups), shown, metric)
            axes.axhline(len(subgroups) - 0.5, color=MUTED, linewidth=0.8)
            axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(min(axes.get_xlim()[0], 0.795), 1.015))
        panels[0].set_yticks(range(len(names)), names, fontsize=7.5)
        panels[0].set_ylabel("hospital/patient (patches,\nalso the area of the dot)")
        panels[0].set_xlabel("AUROC (n/a: one class only)")
        panels[1].set_xlabel("accuracy")


def _list_forest_subgroups(evaluation: Evaluation) -> dict[str, dict[str, Estimate]]:
    subgroups = {"pooled": evaluation.pooled, "patient-macro": evaluation.patient_macro}
    if evaluation.without_largest:
        subgroups[f"leave-one-patient-out ({evaluation.largest_patient})"] = evaluation.without_largest
    for kind, parts in (("hospital", evaluation.per_hospital), ("batch", evaluation.per_batch)):
        if len(parts) > 1:
            subgroups |= {f"{kind} {part.name[:12]}  ({part.n_patches:,})": part.pooled for part in parts}
    return subgroups


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


def draw_differences(
    pairs: Mapping[str, Mapping[str, Difference]], path: Path, *, note: str, metrics: tuple[str, ...]
) -> None:
    """Draws differences of pairs of models, a panel a metric.

    Args:
        pairs: Differences by metric, for each pair as it is to be named.
        path: The PNG file.
        note: What they are of.
        metrics: Those to draw.
    """
    height = 0.9 + 0.24 * len(pairs)
    with page(path, title="Differences, pair by pair", note=note, size=(2.6 + 2 * len(metrics), height)) as figure:
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            for y, differences in enumerate(pairs.values()):
                _draw_difference(axes, y, differences[metric])
            axes.axvline(0, color=MUTED, linewidth=0.8)
            axes.set(ylim=(len(pairs) - 0.5, -0.5), xlabel=METRIC_NAMES[metric].replace(" (", "\n("))
            axes.tick_params(axis="x", labelsize=8)
        panels[0].set_yticks(range(len(pairs)), list(pairs), fontsize=8)


def _draw_difference(axes: Axes, y: int, difference: Difference) -> None:
    if difference.value is None or difference.low is None or difference.high is None:
        _write_not_available(axes, y)
        return
    is_clear = difference.low > 0 or difference.high < 0
    axes.hlines(y, difference.low, difference.high, color=INK if is_clear else MUTED, linewidth=1.6)
    axes.plot(
        difference.value,
        y,
        marker="D",
        markersize=4.5,
        color=INK if is_clear else MUTED,
        markerfacecolor=INK if is_clear else "white",
    )
