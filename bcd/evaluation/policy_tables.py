"""What was found on val patients when the policy was fitted, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from bcd.evaluation.certified import CertifiedThreshold
from bcd.evaluation.tables import NOT_AVAILABLE, Table, format_level


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


def _percent(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{100 * value:.2f} %"
