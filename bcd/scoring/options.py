"""Options of scoring a patient: at which confidence a patch counts, and how the heatmap is drawn."""

from __future__ import annotations

from pydantic import Field

from bcd.options import Options, Patches, Pixels, Probability, Share


class ScoreOptions(Options):
    """How a patient's scores are counted, drawn and reported."""

    level: Probability = Field(
        0.95,
        gt=0.5,
        lt=1.0,
        description="Confidence, max(p, 1 - p), from which on a patch counts as confident.",
    )
    min_coverage: Share = Field(
        0.9,
        ge=0.0,
        le=1.0,
        description="Share of confident patches from which on the outcome can be 'IDC not found'.",
    )
    min_idc_patches: Patches = Field(
        3, ge=1, description="Confident IDC patches from which on the outcome is 'IDC found'."
    )
    opacity: float = Field(
        0.55,
        gt=0.0,
        le=1.0,
        description="Opacity of a confident patch's colour in the heatmap; an uncertain one has under half.",
    )
    outline_labels: bool = Field(
        True, description="Outline the labelled IDC region in the heatmap where labels are known."
    )
    longest_edge: Pixels = Field(
        2000, ge=400, le=8000, description="Longest edge of the slide within a picture, in pixels."
    )
