"""Patches that a report shows by themselves: the most suspicious, the most uncertain, those against their label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bcd.evaluation.calls import confidence, is_confident, is_idc
from bcd.options import Probability
from bcd.patches import SlideId
from bcd.scoring.shown import embed_slide_photograph

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

EXAMPLES = 10
"""Patches of a kind that are shown at most."""

_LABELS = {0: "no IDC", 1: "IDC"}


@dataclass(frozen=True)
class ExamplePatch:
    """One patch that is shown by itself.

    Attributes:
        slide: Its slide.
        x: Column of its upper left pixel, from 1.
        y: Row of its upper left pixel, from 1.
        probability: Calibrated probability of IDC.
        label: `IDC`, `no IDC`, or empty where it has none.
        picture: The patch as an address that shows it; empty where the report has no pictures.
    """

    slide: SlideId
    x: int
    y: int
    probability: Probability
    label: str
    picture: str


@dataclass(frozen=True)
class Examples:
    """The patches that a report shows by themselves.

    Attributes:
        suspicious: Those with the highest probability of IDC, the highest first.
        uncertain: Those whose probability is nearest to one half, the nearest first.
        contradicted: Confident ones that are called what their label does not say, the most confident first.
    """

    suspicious: list[ExamplePatch]
    uncertain: list[ExamplePatch]
    contradicted: list[ExamplePatch]


def show_examples(
    scores: pd.DataFrame, level: Probability, read: Callable[[pd.DataFrame], NDArray[np.uint8]] | None
) -> Examples:
    """Picks patches and makes them ready for the report.

    Args:
        scores: Columns slide, x, y, label (NA = unlabelled), probability; all patches of a patient.
        level: Confidence from which on a patch counts as confident.
        read: Reads the pixels of rows of `scores`, (n, 50, 50, 3); None: they are shown without pictures.
    """
    probability = scores["probability"].to_numpy(np.float64)
    label = scores["label"].fillna(-1).to_numpy(np.int8)
    sure = confidence(probability)
    against = (label >= 0) & is_confident(probability, level) & (is_idc(probability) != (label == 1))

    def show(order: NDArray[np.int64]) -> list[ExamplePatch]:
        picked = scores.iloc[order[:EXAMPLES]]
        columns = (picked[name].tolist() for name in ("slide", "x", "y", "probability"))
        labels = picked["label"].map(_LABELS).fillna("").tolist()
        pictures = [""] * len(picked) if read is None else [embed_slide_photograph(one) for one in read(picked)]
        return [ExamplePatch(*each) for each in zip(*columns, labels, pictures, strict=True)]

    surest = np.argsort(-sure, kind="stable")
    return Examples(
        suspicious=show(np.argsort(-probability, kind="stable")),
        uncertain=show(np.argsort(sure, kind="stable")),
        contradicted=show(surest[against[surest]]),
    )
