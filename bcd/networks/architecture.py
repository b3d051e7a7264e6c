"""The architecture: a convolutional network for 50x50 patches, described as data.

An optional strided stem, then stages of convolutions that each end in a max-pooling, then a head that ends in
one logit.

Example:
    >>> describe(PRESETS["compact"])
    'compact'
    >>> describe(Architecture(stages=[Stage(filters=16, depth=2)]))
    '2x16, average'
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bcd.errors import BcdError
from bcd.options import Options
from bcd.patches import PATCH_PIXELS


class Stem(Options):
    """A first convolution that strides, so that everything after it sees a smaller picture."""

    filters: int = Field(32, ge=1, le=512, description="Filters of the stem.")
    kernel: int = Field(5, ge=1, le=15, description="Edge of its kernel, in pixels.")
    stride: int = Field(2, ge=1, le=10, description="Its stride, in pixels.")


class Stage(Options):
    """Convolutions of one width, ended by a max-pooling and dropout."""

    filters: int = Field(ge=1, le=1024, description="Filters of each convolution.")
    depth: int = Field(2, ge=1, le=8, description="Number of convolutions.")
    kernel: int = Field(3, ge=1, le=9, description="Edge of their kernels, in pixels.")
    pool: int = Field(2, ge=1, le=5, description="Edge and stride of the max-pooling after them; 1: none.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of values dropped after the pooling.")


class Head(Options):
    """From the last stage to the logit."""

    reduce: Literal["average", "flatten"] = Field("average", description="Global average pooling, or flatten.")
    dense: int = Field(0, ge=0, le=4096, description="Width of a dense layer before the logit; 0: none.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of values dropped before the logit.")


class Architecture(Options):
    """A network for patches, as data.

    Raises:
        BcdError: The stem and the poolings leave nothing of a 50x50 patch.
    """

    stem: Stem | None = Field(None, description="Strided first convolution; none: the stages see every pixel.")
    stages: list[Stage] = Field(min_length=1, max_length=6, description="Stages, first to last.")
    order: Literal["conv-relu-norm", "conv-norm-relu"] = Field(
        "conv-norm-relu", description="Order of convolution, activation and normalisation."
    )
    head: Head = Field(Head(), description="From the last stage to the logit.")

    @model_validator(mode="after")
    def _fits_a_patch(self) -> Architecture:
        edge = PATCH_PIXELS if self.stem is None else -(-PATCH_PIXELS // self.stem.stride)
        for number, stage in enumerate(self.stages, 1):
            if edge < stage.pool:
                raise BcdError(
                    f"The architecture does not fit a 50x50 patch: stage {number} pools "
                    f"{stage.pool}x{stage.pool} where {edge}x{edge} pixels are left.",
                    "Use fewer stages, a smaller stride of the stem, or `pool = 1` in the last stages.",
                )
            edge //= stage.pool
        return self


PRESETS = {
    "dissertation": Architecture(
        stages=[
            Stage(filters=32, depth=3, dropout=0.25),
            Stage(filters=64, depth=3, dropout=0.3),
            Stage(filters=128, depth=3, dropout=0.3),
        ],
        order="conv-relu-norm",
        head=Head(reduce="flatten", dense=256, dropout=0.3),
    ),
    "compact": Architecture(
        stem=Stem(),
        stages=[Stage(filters=32), Stage(filters=64, dropout=0.1), Stage(filters=128, dropout=0.1)],
        head=Head(dropout=0.2),
    ),
}
"""Architectures known by name: the founding work's, and the default, which trains five times as fast."""


def describe(architecture: Architecture) -> str:
    """Returns a preset's name, or the architecture in a few words: stem, depth x filters a stage, head."""
    for name, preset in PRESETS.items():
        if architecture == preset:
            return name
    stem, head = architecture.stem, architecture.head
    parts = [] if stem is None else [f"stem {stem.filters} of {stem.kernel}x{stem.kernel}/{stem.stride}"]
    parts.append(" ".join(f"{stage.depth}x{stage.filters}" for stage in architecture.stages))
    parts.append(head.reduce + (f" dense {head.dense}" if head.dense else ""))
    return ", ".join(parts)
