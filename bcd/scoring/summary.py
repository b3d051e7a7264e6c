"""What a patient's stored scores add up to: counts, tumour fraction, agreement with labels, outcome.

All of it is computed from the frame that `scores.parquet` holds, and is descriptive of one patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bcd.evaluation.outcome import FOUND, NOT_FOUND, UNDECIDED, Outcome, decide_outcome
from bcd.options import Probability

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.scoring.options import ScoreOptions

__all__ = ["FOUND", "MIN_PATCHES", "NOT_FOUND", "UNDECIDED", "LevelCount", "Summary", "summarise_patient_scores"]

MIN_PATCHES = 30
"""A rate on fewer patches is not given."""


@dataclass(frozen=True)
class LevelCount:
    """The patches that are confident at one level.

    Attributes:
        level: Confidence, max(p, 1 - p), from which on they count.
        n: How many are confident.
        share: Of all patches.
        idc: How many of them are called IDC.
        labelled: How many of them carry a label.
        agreeing: How many of those are called what the label says.
    """

    level: Probability
    n: int
    share: float
    idc: int
    labelled: int
    agreeing: int

    @property
    def agreement(self) -> float | None:
        """Accuracy of the labelled ones; None under 30."""
        return self.agreeing / self.labelled if self.labelled >= MIN_PATCHES else None


@dataclass(frozen=True)
class Summary:
    """One patient's scores, added up.

    Attributes:
        n: Patches scored.
        slides: Slides they come from.
        coverage: Share that is confident at the level of the options.
        confident_idc: Patches that are confidently IDC at that level.
        tumour_fraction: Mean calibrated probability of IDC over the tissue.
        idc_share: Share of patches with probability of at least one half.
        labelled: Patches that carry a label.
        true_fraction: Share of IDC among them; None where there is no label.
        called_share: Share called IDC among the labelled patches, to be held against it; None likewise.
        everything: All patches, as if at confidence 0.5.
        levels: Counts at each level, ascending.
        outcome: One of three, descriptive.
    """

    n: int
    slides: int
    coverage: float
    confident_idc: int
    tumour_fraction: float
    idc_share: float
    labelled: int
    true_fraction: float | None
    called_share: float | None
    everything: LevelCount
    levels: tuple[LevelCount, ...]
    outcome: Outcome


def summarise_patient_scores(scores: pd.DataFrame, options: ScoreOptions, levels: Sequence[float] = ()) -> Summary:
    """Adds up a patient's stored scores.

    Args:
        scores: Columns slide, label (NA = unlabelled), probability; one row a patch.
        options: The level at which patches count, and the rule of the outcome.
        levels: Further levels to count at, such as those of the bundle's policy.
    """
    from bcd.evaluation.calls import is_idc

    probability = scores["probability"].to_numpy(np.float64)
    known = scores["label"].notna().to_numpy(bool)
    label = scores["label"].fillna(0).to_numpy(np.int64) == 1
    called = is_idc(probability)
    rule = options.outcome
    counted = _count_level(probability, called, known, label, rule.level)
    labelled = int(known.sum())
    return Summary(
        n=len(scores),
        slides=int(scores["slide"].nunique()),
        coverage=counted.share,
        confident_idc=counted.idc,
        tumour_fraction=float(probability.mean()),
        idc_share=float(called.mean()),
        labelled=labelled,
        true_fraction=float(label[known].mean()) if labelled else None,
        called_share=float(called[known].mean()) if labelled else None,
        everything=_count_level(probability, called, known, label, 0.5),
        levels=tuple(
            _count_level(probability, called, known, label, level) for level in sorted({*levels, rule.level})
        ),
        outcome=decide_outcome(confident_idc=counted.idc, confident=counted.n, patches=len(scores), rule=rule),
    )


def _count_level(
    probability: NDArray[np.float64],
    called: NDArray[np.bool_],
    known: NDArray[np.bool_],
    label: NDArray[np.bool_],
    level: Probability,
) -> LevelCount:
    from bcd.evaluation.calls import is_confident

    confident = is_confident(probability, level)
    return LevelCount(
        level=level,
        n=int(confident.sum()),
        share=float(confident.mean()),
        idc=int((confident & called).sum()),
        labelled=int((confident & known).sum()),
        agreeing=int((confident & known & (called == label)).sum()),
    )
