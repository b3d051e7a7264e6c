"""What was found on val patients when the policy was fitted, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from bcd.evaluation.alternatives import CalibrationRow
from bcd.evaluation.certified import CertifiedThreshold
from bcd.evaluation.tables import NOT_AVAILABLE, Table, format_estimate, format_level

CALIBRATION_NAMES = {
    "none": "none (the network's own)",
    "platt": "Platt: slope and intercept (deployed)",
    "isotonic": "isotonic",
    "beta": "beta",
}
"""How kinds of calibration are called in front of readers."""


def certified_table(certified: Sequence[CertifiedThreshold]) -> Table:
    """Makes the table of thresholds by target error."""
    caption = (
        "Val patients, cross-fitted scores. Of what is kept of a patient, a share is wrong: the error is the mean of "
        "that share over all patients of whom anything is kept, and the bound is an upper one. If no threshold is "
        "certified, the figures are of the strictest that was tested. The pooled error is not promised."
    )
    header = [
        "target error",
        "threshold",
        "tested at",
        "patches kept",
        "patients kept",
        "error",
        "bound",
        "pooled error",
    ]
    rows = [
        [
            f"≤ {format_level(row.target_error)}",
            row.verdict,
            f"≥ {format_level(row.tested)}",
            f"{100 * row.coverage:.1f} %",
            f"{row.patients} of {row.n_patients}",
            *(_percent(value) for value in (row.error, row.bound, row.error_pooled)),
        ]
        for row in certified
    ]
    return Table(caption, header, rows)


def calibration_table(calibrations: Sequence[CalibrationRow]) -> Table:
    """Makes the table of kinds of calibration, measured on patients that their fit never saw."""
    caption = "Val patients, cross-fitted: no patient is scored by a calibration that saw it. Less is better."
    rows = [
        [CALIBRATION_NAMES[row.kind], *(format_estimate(e) for e in (row.log_loss, row.brier, row.ece))]
        for row in calibrations
    ]
    return Table(caption, ["calibration", "log loss", "Brier score", "calibration error"], rows)


def _percent(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{100 * value:.2f} %"
