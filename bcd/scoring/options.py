"""Options of scoring a patient: at which confidence a patch counts, and how the heatmap is drawn."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from bcd.evaluation.outcome import OutcomeRule
from bcd.options import Options, Pixels


class ScoreOptions(Options):
    """How a patient's scores are counted, drawn and reported."""

    outcome: OutcomeRule = Field(
        OutcomeRule(), description="When IDC counts as found, and from which confidence on a patch counts."
    )
    opacity: float = Field(
        0.55,
        gt=0.0,
        le=1.0,
        description="Opacity in the heatmap of a patch that is confidently IDC; every other has less.",
    )
    outline_labels: bool = Field(
        True, description="Outline the labelled IDC region in the heatmap where labels are known."
    )
    longest_edge: Pixels = Field(
        2000, ge=400, le=8000, description="Longest edge of the slide within a picture, in pixels."
    )
    pictures: Literal["full", "report", "none"] = Field(
        "full",
        description="Pictures that are left of a patient. full: slide and heatmap as files, and those of the report; "
        "report: the report alone; none: a report without tissue, with the map of probabilities.",
    )
    ome: bool = Field(
        False,
        description="Leave slide and heatmap as pyramidal OME-TIFF, too, of slides that were delivered as patches: "
        "about 15 MB for 1,000 patches. Needs the extra `ome`.",
    )
    shadow: bool = Field(
        False,
        description="Let the challenger score beside the champion, unseen: how they agree stands on the gate's page.",
    )

    def fingerprint(self) -> str:
        """Returns 12 hex digits that are equal exactly when the same report comes of the options."""
        return hashlib.sha256(self.model_dump_json(exclude={"shadow"}).encode()).hexdigest()[:12]
