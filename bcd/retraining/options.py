"""When a retraining begins without a person."""

from __future__ import annotations

from pydantic import Field

from bcd.options import Days, Options, Patients


class RetrainOptions(Options):
    """When the scheduled retraining begins; every look at the gate patients costs, so that a few patients wait."""

    min_new_patients: Patients = Field(
        10, ge=1, le=10_000, description="New labelled patients since the last retraining that start the next one."
    )
    max_days: Days = Field(7, ge=1, le=3650, description="After so many days one new labelled patient suffices.")
