"""How far a study goes, as options."""

from __future__ import annotations

from pydantic import Field

from bcd.options import Options


class SearchOptions(Options):
    """How far a study goes; more trials continue a finished one."""

    trials: int = Field(3, ge=1, le=10_000, description="Networks to train; the first is the default, `compact`.")
    epochs: int = Field(2, ge=1, le=1000, description="Epochs of a trial, on a schedule of that length.")
    max_parameters: int = Field(400_000, ge=1000, description="Weights that a trial's network may have.")
    max_cost: float = Field(
        1.25,
        ge=0.01,
        description="Multiply-adds a patch that it may need, as a multiple of those of `compact`.",
    )
    seed: int = Field(1, ge=0, le=2**20, description="Seeds what is proposed.")
