"""Figures with their intervals, as they are stored and shown."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Figure(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    low: float | None
    high: float | None
    n_patches: int
    n_patients: int
    dropped: int = 0


class Estimate(_Figure):
    """A metric with its interval by patient.

    Attributes:
        value: The metric; None (n/a) where it is undefined or rests on too few patches or patients.
        low: Lower end of the interval; None where there is no honest one.
        high: Upper end of the interval; None where there is no honest one.
        n_patches: Patches that the metric rests on: the denominator of a rate, the rarer class of a metric
            that needs both.
        n_patients: Patients of those patches.
        dropped: Resamples left out of the interval because the metric was undefined on them.
    """


class Difference(_Figure):
    """A difference (second minus first) between two models on the same patches, with its interval by patient.

    Attributes:
        value: The difference; None where the metric is undefined.
        low: Lower end of the interval; None where there is no honest one, for instance on too few patients.
        high: Upper end of the interval; None where there is no honest one.
        n_patches: Patches that the metric rests on.
        n_patients: Patients of those patches.
        dropped: Resamples left out of the interval because the metric was undefined on them.
    """
