"""Options of evaluation: resamples, confidence, the levels of the threshold table, and when a rate is n/a."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field, field_validator

from bcd.options import Options


class EvaluateOptions(Options):
    """How scores are judged; every interval comes from resampling patients."""

    resamples: int = Field(2000, ge=100, le=100_000, description="Bootstrap resamples of the patients.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence of every interval.")
    seed: int = Field(20, ge=0, description="Seed of the resamples; the same seed gives the same intervals.")
    levels: list[float] = Field(
        [0.80, 0.95, 0.99, 0.999, 0.9999],
        min_length=1,
        description="Confidence levels of the threshold table, rising, from 0.5 to below 1.",
    )
    min_patches: int = Field(30, ge=1, description="A rate on fewer patches is n/a.")
    min_patients: int = Field(10, ge=1, description="A rate on fewer patients is n/a.")

    @field_validator("levels")
    @classmethod
    def _check_levels(cls, levels: list[float]) -> list[float]:
        if not all(0.5 <= level < 1 for level in levels):
            raise ValueError("a level is at least 0.5 and below 1")
        if any(low >= high for low, high in pairwise(levels)):
            raise ValueError("levels must rise from one to the next")
        return levels
