"""The architecture: a convolutional network for 50x50 patches, described as data.

An optional stem, then stages of convolutions that each end in a pooling, then a head that ends in one logit.

Examples:
    >>> describe_architecture(PRESETS["compact"])
    'compact'
    >>> describe_architecture(Architecture(stages=[Stage(filters=16, depth=2)]))
    '2x16, average'
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bcd.errors import BcdError
from bcd.options import Options, Pixels
from bcd.patches import PATCH_PIXELS

Order = Literal["conv-norm-relu", "conv-relu-norm", "norm-relu-conv"]
Normalisation = Literal["batch", "group", "none"]


class Stem(Options):
    """A first convolution, which may stride, so that everything after it sees a smaller picture.

    Raises:
        BcdError: A plain stem strides, or the tiles of a patchify stem overlap or leave gaps.
    """

    kind: Literal["plain", "strided", "patchify"] = Field(
        "strided", description="Every pixel (plain), every few pixels (strided), or tiles side by side (patchify)."
    )
    filters: int = Field(32, ge=1, le=512, description="Filters of the stem.")
    kernel: int = Field(5, ge=1, le=15, description="Edge of its kernel, in pixels.")
    stride: int = Field(2, ge=1, le=10, description="Its stride, in pixels.")

    @model_validator(mode="after")
    def _strides_as_its_kind(self) -> Stem:
        if self.kind == "plain" and self.stride != 1:
            raise BcdError(
                f"A plain stem has stride 1, this one {self.stride}.", 'Use `kind = "strided"`, or `stride = 1`.'
            )
        if self.kind == "patchify" and self.stride != self.kernel:
            raise BcdError(
                f"A patchify stem's tiles lie side by side; these are {self.kernel} px wide, {self.stride} px apart.",
                'Make kernel and stride equal, or use `kind = "strided"`.',
            )
        return self

    @property
    def edge(self) -> Pixels:
        """Pixels that are left of a patch's edge."""
        return PATCH_PIXELS // self.stride if self.kind == "patchify" else -(-PATCH_PIXELS // self.stride)


class Stage(Options):
    """Convolutions of one width, ended by a pooling and dropout.

    Raises:
        BcdError: A residual stage has an odd depth.
    """

    filters: int = Field(ge=1, le=1024, description="Filters of each convolution.")
    depth: int = Field(2, ge=1, le=8, description="Number of convolutions.")
    kernel: int = Field(3, ge=1, le=9, description="Edge of their kernels, in pixels.")
    residual: bool = Field(False, description="Whether a shortcut leads around every two convolutions (He 2016).")
    pooling: Literal["max", "average"] = Field("max", description="Which pooling ends the stage.")
    pool: int = Field(2, ge=1, le=5, description="Edge and stride of that pooling; 1: none.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of values dropped after the pooling.")

    @model_validator(mode="after")
    def _pairs_where_residual(self) -> Stage:
        if self.residual and self.depth % 2:
            raise BcdError(
                f"A residual stage's shortcuts lead around two convolutions each; this one has {self.depth}.",
                "Make its depth even.",
            )
        return self


class Head(Options):
    """From the last stage to the logit."""

    reduce: Literal["average", "max", "flatten"] = Field(
        "average", description="Global average or max pooling, or flatten."
    )
    dense: int = Field(0, ge=0, le=4096, description="Width of a dense layer before the logit; 0: none.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of values dropped before the logit.")


class Architecture(Options):
    """A network for patches, as data.

    Raises:
        BcdError: The stem and the poolings leave nothing of a 50x50 patch.
    """

    stem: Stem | None = Field(None, description="First convolution; none: the stages see the pixels themselves.")
    stages: list[Stage] = Field(min_length=1, max_length=6, description="Stages, first to last.")
    order: Order = Field("conv-norm-relu", description="Order of convolution, normalisation and activation.")
    normalisation: Normalisation = Field(
        "batch", description="Over the batch, over groups of a patch's own channels, or none."
    )
    head: Head = Field(Head(), description="From the last stage to the logit.")

    @model_validator(mode="after")
    def _fits_a_patch(self) -> Architecture:
        edge = PATCH_PIXELS if self.stem is None else self.stem.edge
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


def describe_architecture(architecture: Architecture) -> str:
    """Returns a preset's name, or the architecture in a few words."""
    named = (name for name, preset in PRESETS.items() if architecture == preset)
    return next(named, None) or spell_out_architecture(architecture)


def spell_out_architecture(architecture: Architecture) -> str:
    """Returns the architecture in a few words: stem, depth x filters of each stage, head, dropout.

    What is as by default is not said, so that equal words mean the same network.
    """
    stem, stages, head = architecture.stem, architecture.stages, architecture.head
    sizes, traits = [f"{stage.depth}x{stage.filters}" for stage in stages], [_list_traits(stage) for stage in stages]
    parts = [] if stem is None else [_describe_stem(stem)]
    if len(set(traits)) == 1:
        parts.append(" ".join([*sizes, traits[0]]).strip())
    else:
        parts += [f"{size} {trait}".strip() for size, trait in zip(sizes, traits, strict=True)]
    parts += [architecture.order] if architecture.order != "conv-norm-relu" else []
    parts += {"batch": [], "group": ["group norm"], "none": ["no norm"]}[architecture.normalisation]
    parts.append(head.reduce + (f" dense {head.dense}" if head.dense else ""))
    shares = [*(stage.dropout for stage in stages), head.dropout]
    parts += [f"dropout {'/'.join(f'{share:g}' for share in shares)}"] if any(shares) else []
    return ", ".join(parts)


def _describe_stem(stem: Stem) -> str:
    kind = "" if stem.kind == "strided" else f"{stem.kind} "
    stride = f"/{stem.stride}" if stem.kind == "strided" else ""
    return f"{kind}stem {stem.filters} of {stem.kernel}x{stem.kernel}{stride}"


def _list_traits(stage: Stage) -> str:
    """Says what is unusual of a stage, but its size and dropout."""
    traits = [f"of {stage.kernel}x{stage.kernel}"] if stage.kernel != 3 else []
    traits += ["residual"] if stage.residual else []
    if stage.pool == 1:
        return " ".join([*traits, "unpooled"])
    pooling = "" if stage.pooling == "max" else "average-"
    size = "" if stage.pool == 2 else f" by {stage.pool}"
    return " ".join(traits + ([f"{pooling}pooled{size}"] if pooling or size else []))
