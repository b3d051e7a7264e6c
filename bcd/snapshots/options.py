"""Options of splits: which protocol deals them and how much each split gets."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field, model_validator

from bcd.options import Options, Share

Protocol = Literal["dealt", "cruz-roa-2014", "cruz-roa-2014-dev", "leave-one-hospital-out"]

_LONGEST = 64
"""Characters of a protocol's name in the catalog."""


class SplitOptions(Options):
    """How patients are dealt to the splits train, val, gate and test."""

    protocol: Protocol = Field(
        "dealt",
        description="How patients get their split: dealt, by the published lists of the public set, or with one"
        " hospital held out.",
    )
    train: Share = Field(0.5, gt=0, lt=1, description="Share of patients dealt to train.")
    val: Share = Field(0.15, gt=0, lt=1, description="Share of patients dealt to val.")
    gate: Share = Field(0.15, gt=0, lt=1, description="Share of patients dealt to gate.")
    test: Share = Field(0.2, gt=0, lt=1, description="Share of patients dealt to test.")
    key: str = Field("bcd", min_length=1, description="Key of the hash that orders patients before dealing.")
    held_out: str = Field(
        "", max_length=64, description="Hospital whose patients are the test split of leave-one-hospital-out."
    )

    @model_validator(mode="after")
    def _check_shares(self) -> SplitOptions:
        total = self.train + self.val + self.gate + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares train, val, gate and test sum to {total:g}, not to 1")
        return self

    @model_validator(mode="after")
    def _check_held_out(self) -> SplitOptions:
        if self.protocol == "leave-one-hospital-out" and not self.held_out:
            raise ValueError("protocol leave-one-hospital-out needs held_out, the hospital to test on")
        return self

    @property
    def recorded_as(self) -> str:
        """What the catalog and snapshots call the protocol: with the hospital that is held out, if one is.

        Examples:
            >>> SplitOptions(protocol="leave-one-hospital-out", held_out="east").recorded_as
            'leave-one-hospital-out:east'
        """
        if self.protocol != "leave-one-hospital-out":
            return self.protocol
        name = f"{self.protocol}:{self.held_out}"
        if len(name) <= _LONGEST:
            return name
        digest = hashlib.sha256(self.held_out.encode()).hexdigest()[:12]
        return f"{name[: _LONGEST - 13]}~{digest}"
