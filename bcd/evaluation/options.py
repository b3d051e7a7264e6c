"""Options of evaluation: resamples, confidence, the levels of the threshold table, and when a rate is n/a."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bcd.evaluation.outcome import OutcomeRule
from bcd.options import Folds, Options, Patches, Patients, Probability, Unit


class EvaluateOptions(Options):
    """How scores are evaluated; every interval is by patient."""

    interval: Literal["jackknife", "percentile"] = Field(
        "jackknife",
        description="How intervals are made: by leaving patients out, or the customary middle of resamples, which is "
        "too narrow (docs/explanation/statistics.md).",
    )
    resamples: Annotated[int, Unit("resamples")] = Field(
        2000, ge=100, le=100_000, description="Bootstrap resamples of the patients."
    )
    confidence: Probability = Field(0.95, gt=0.5, lt=1, description="Confidence of every interval.")
    seed: int = Field(20, ge=0, description="Seed of the resamples; the same seed gives the same intervals.")
    levels: list[float] = Field(
        [0.80, 0.95, 0.99, 0.999, 0.9999],
        min_length=1,
        description="Confidence levels of the threshold table, rising, from 0.5 to below 1.",
    )
    target_errors: list[Annotated[float, Field(gt=0, lt=0.5)]] = Field(
        [0.05, 0.02, 0.01],
        description="Errors among a patient's confident patches for which a threshold is certified on val patients.",
    )
    folds: Folds = Field(10, ge=2, description="Folds of val patients over which calibrators are cross-fitted.")
    min_patches: Patches = Field(30, ge=1, description="A rate on fewer patches is n/a.")
    min_patients: Patients = Field(10, ge=1, description="A rate on fewer patients is n/a.")
    at_prevalence: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Prevalence to which the classes are weighted beside the sample's own; none: no.",
    )
    outcome: OutcomeRule = Field(OutcomeRule(), description="When IDC counts as found in a patient.")

    @field_validator("levels")
    @classmethod
    def _check_levels(cls, levels: list[float]) -> list[float]:
        if not all(0.5 <= level < 1 for level in levels):
            raise ValueError("a level is at least 0.5 and below 1")
        if any(low >= high for low, high in pairwise(levels)):
            raise ValueError("levels must rise from one to the next")
        return levels
