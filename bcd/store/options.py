"""Options of splits: which protocol deals them and how much each split gets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bcd.options import Options

Protocol = Literal["dealt", "cruz-roa-2014", "cruz-roa-2014-dev"]


class SplitOptions(Options):
    """How patients are dealt to the splits train, val, gate and test."""

    protocol: Protocol = Field(
        "dealt",
        description="How patients get their split: dealt, or by the published lists of the public set.",
    )
    train: float = Field(0.5, gt=0, lt=1, description="Share of patients dealt to train.")
    val: float = Field(0.15, gt=0, lt=1, description="Share of patients dealt to val.")
    gate: float = Field(0.15, gt=0, lt=1, description="Share of patients dealt to gate.")
    test: float = Field(0.2, gt=0, lt=1, description="Share of patients dealt to test.")
    key: str = Field("bcd", min_length=1, description="Key of the hash that orders patients before dealing.")

    @model_validator(mode="after")
    def _check_shares(self) -> SplitOptions:
        total = self.train + self.val + self.gate + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares train, val, gate and test sum to {total:g}, not to 1")
        return self
