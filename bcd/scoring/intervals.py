"""Intervals of one patient's figures: how far each moves with which tissue of the patient was cut.

Patches that lie side by side are alike, so an interval that takes each for an independent draw is far too narrow. How
alike they are is measured: the covariance of two patches, by their distance d, is fitted by sill * exp(-d / reach),
and what is left of the variance belongs to each patch alone. The variance of a mean is then the mean covariance of
all pairs. Since the deviations from a mean are smaller than those from the truth, the fit takes that variance off
what it expects. Patches of two slides count as independent. The patches are worth as many independent draws as have
that variance, and the interval is that of `bcd.evaluation.metrics.intervals` with them in the place of patients.

An interval holds no error of the model, of its calibration or of the labels. `benchmarks/slide_intervals.py` says how
often it holds the truth. A small slide shows one or two pieces of tissue and nothing of how pieces vary, so that it
holds it too seldom there. The fitted reach does not tell: it is short on such slides, too. So none is given on the
smallest, and the report says of the others how often it was right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.evaluation.metrics.intervals import exact_interval
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.outcome import OUTCOMES, Outcome, OutcomeRule, decide_outcome
from bcd.options import Probability
from bcd.patches import PATCH_PIXELS
from bcd.scoring.summary import MIN_PATCHES

if TYPE_CHECKING:
    import pandas as pd

LEAST_DRAWS = 5
"""Independent draws below which no interval is given: it would say nothing."""

LEAST_ACROSS = 20
"""Patches across a slide below which no interval is given: it would hold the truth in 43 to 93 % of the cases."""

WIDE_ACROSS = 50
"""Patches across a slide from which on an interval holds about what it promises."""

HELD_BELOW = 0.69, 0.96
"""How often an interval held the truth on slides between the two, by how fine their tissue is."""

_FARTHEST = 0.6  # of the longest edge: pairs farther apart are few, and tell of the whole slide's slope
_LONGEST = 1 / 3  # of that edge: the longest reach that is told from a slope of the whole slide
_REACHES = 24  # that are tried
_SAME = 1e-12  # a smaller variance is the rounding of one and the same value
_OPTIONS = EvaluateOptions()

Ends = tuple[float, float]
"""Lower and upper end."""


@dataclass(frozen=True)
class LevelIntervals:
    """Intervals of shares at one level of confidence; None where there is no honest one.

    Attributes:
        coverage: Of the confident patches.
        idc: Of those that are confidently IDC.
        none: Of those that are confidently not IDC.
        agreement: Of those called what the label says, among the confident labelled ones.
    """

    coverage: Ends | None
    idc: Ends | None
    none: Ends | None
    agreement: Ends | None


@dataclass(frozen=True, eq=False)
class PlacedPatches:
    """A patient's patches, where they lie.

    Attributes:
        places: Slide, row and column of each patch, from 0, (n, 3).
        probability: Of IDC, of each patch, (n,).
    """

    places: NDArray[np.int64]
    probability: NDArray[np.float64]

    @classmethod
    def of(cls, scores: pd.DataFrame, probability: NDArray[np.float64]) -> PlacedPatches:
        """Places patches.

        Args:
            scores: Columns slide, x, y; all patches of a patient.
            probability: Of IDC, of each patch, (n,).
        """
        row, column = ((scores[name].to_numpy(np.int64) - 1) // PATCH_PIXELS for name in ("y", "x"))
        places = np.stack([scores["slide"].factorize()[0], row, column], axis=1).astype(np.int64)
        return cls(places, probability)

    @cached_property
    def draws(self) -> float | None:
        """Independent draws that the patches are worth, by their probabilities; None where all are the same."""
        return self._everywhere.count_draws(self.probability)

    @property
    def across(self) -> float:
        """Patches across the largest slide: the edge of the square that is as large as the box around its patches."""
        return self._everywhere.across

    def interval(self, values: NDArray[Any], among: NDArray[np.bool_] | None = None) -> Ends | None:
        """Returns the interval of the mean of values in [0, 1]; None where there is no honest one.

        Args:
            values: One of each patch, (n,). Where all are the same, the patches are worth what probabilities say.
            among: The patches that count; None: all.
        """
        chosen, probability = (each if among is None else each[among] for each in (values, self.probability))
        chosen = np.asarray(chosen, np.float64)
        if len(chosen) < MIN_PATCHES:
            return None
        pairs = self._everywhere if among is None else _Pairs.of(self.places[among])
        if pairs.across < LEAST_ACROSS:
            return None
        varies = float(chosen.var()) > _SAME
        draws = pairs.count_draws(chosen if varies else probability)
        if draws is None or draws < LEAST_DRAWS:
            return None
        error = (float(chosen.var(ddof=1)) / draws) ** 0.5 if varies else 0.0
        return exact_interval(float(chosen.mean()), error, draws, _OPTIONS)

    @cached_property
    def _everywhere(self) -> _Pairs:
        return _Pairs.of(self.places)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of patches by their distance, each patch with itself and each two patches of a slide twice.

    Attributes:
        slides: Of each slide: which patches lie on it, and their row and column from 0.
        bins: Of each slide: the bin of distance of each step on a torus twice as large, (2 rows, 2 columns).
        number: Pairs in each bin.
        distance: Their mean distance, in patches.
        longest: The longest edge of a slide, in patches.
        across: The edge of the square that is as large as the largest slide, likewise.
    """

    slides: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    bins: list[NDArray[np.int64]]
    number: NDArray[np.float64]
    distance: NDArray[np.float64]
    longest: int
    across: float

    @classmethod
    def of(cls, places: NDArray[np.int64]) -> _Pairs:
        """Finds the pairs of patches at (slide, row, column)."""
        slides, bins = [], []
        number, total = np.zeros(1), np.zeros(1)
        for slide in np.unique(places[:, 0]):
            on = np.flatnonzero(places[:, 0] == slide)
            cells = places[on, 1:] - places[on, 1:].min(axis=0)
            shape = 2 * (cells.max(axis=0) + 1)
            steps = [np.minimum(np.arange(edge), edge - np.arange(edge)) for edge in shape]
            distance = np.hypot(steps[0][:, None], steps[1][None])
            of = np.rint(distance).astype(np.int64)
            found = np.rint(_correlate(cells, np.ones(len(on)), of.shape))
            number = _add_bins(number, of, found)
            total = _add_bins(total, of, found * distance)
            slides.append((on, cells))
            bins.append(of)
        longest = max(of.shape[axis] // 2 for of in bins for axis in (0, 1))
        across = max(of.size for of in bins) ** 0.5 / 2
        return cls(slides, bins, number, total / np.maximum(number, 1), longest, across)

    def count_draws(self, values: NDArray[np.float64]) -> float | None:
        """Returns how many independent draws have the variance of the mean; None where all values are the same."""
        n = len(values)
        off = values - values.mean()
        if float(off @ off) / n <= _SAME:
            return None
        products = np.zeros(1)
        for (on, cells), of in zip(self.slides, self.bins, strict=True):
            products = _add_bins(products, of, _correlate(cells, off[on], of.shape))
        covariance = products / np.maximum(self.number, 1)
        used = (self.number > 0) & (self.distance > 0) & (self.distance <= _FARTHEST * self.longest)
        least, sill, alike = np.inf, 0.0, 0.0
        for reach in np.geomspace(0.5, max(_LONGEST * self.longest, 1), _REACHES):
            fall = np.exp(-self.distance / reach)
            mean = float(self.number @ fall) / n**2
            expected, weight = (fall - mean)[used], self.number[used]
            square = float(weight @ expected**2)
            height = max(float(weight @ (expected * covariance[used])) / square, 0.0) if square > 0 else 0.0
            missed = float(weight @ (covariance[used] - height * expected) ** 2)
            if missed < least:
                least, sill, alike = missed, height, mean
        variance = max(float(covariance[0]) + sill * alike, sill)
        return variance / (sill * alike + (variance - sill) / n)


def _correlate(cells: NDArray[np.int64], values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Returns the sum of the products of all pairs of values that lie a step apart, for each step on a torus."""
    grid = np.zeros(shape)
    grid[cells[:, 0], cells[:, 1]] = values
    return np.fft.irfft2(np.abs(np.fft.rfft2(grid)) ** 2, shape)


def _add_bins(
    total: NDArray[np.float64], bins: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    found = np.bincount(bins.ravel(), values.ravel(), len(total)).astype(np.float64)
    found[: len(total)] += total
    return found


def estimate_level_intervals(
    placed: PlacedPatches, label: NDArray[np.int8], levels: Sequence[Probability]
) -> list[LevelIntervals]:
    """Makes the intervals at each level of confidence.

    Args:
        placed: The patches.
        label: 1 = IDC, 0 = none, -1 = unlabelled, (n,).
        levels: Confidences.
    """
    from bcd.evaluation.calls import is_confident, is_idc

    called, known = is_idc(placed.probability), label >= 0
    found = []
    for level in levels:
        confident = is_confident(placed.probability, level)
        found.append(
            LevelIntervals(
                coverage=placed.interval(confident),
                idc=placed.interval(confident & called),
                none=placed.interval(confident & ~called),
                agreement=placed.interval(called == (label == 1), confident & known),
            )
        )
    return found


def list_outcomes_within(intervals: LevelIntervals, patches: int, rule: OutcomeRule) -> tuple[Outcome, ...] | None:
    """Returns the outcomes that the intervals of confident IDC and of coverage allow; None without the first."""
    if intervals.idc is None:
        return None
    found = {
        decide_outcome(
            confident_idc=round(idc * patches), confident=round(coverage * patches), patches=patches, rule=rule
        )
        for idc in intervals.idc
        for coverage in intervals.coverage or (0.0, 1.0)
    }
    return tuple(outcome for outcome in OUTCOMES if outcome in found)
