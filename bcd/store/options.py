"""Options of turning annotated areas into labels of patches."""

from __future__ import annotations

from pydantic import Field, model_validator

from bcd.options import Options, Share


class LabelOptions(Options):
    """From which covered share on an annotated area labels a patch; between the two it has no label."""

    positive_from: Share = Field(
        0.8, gt=0, le=1, description="Share of a patch under a class of IDC from which on it is labelled IDC."
    )
    negative_to: Share = Field(
        0.0, ge=0, lt=1, description="Share up to which a patch that was looked at in full is labelled no IDC."
    )

    @model_validator(mode="after")
    def _leave_room(self) -> LabelOptions:
        if self.negative_to >= self.positive_from:
            raise ValueError(
                f"negative_to is {self.negative_to:g} and positive_from {self.positive_from:g}:"
                " the first must be the smaller"
            )
        return self
