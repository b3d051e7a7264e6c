"""What patches say of their patients: tumour burden, agreement of the map, and the outcome.

The patient is the unit: every one counts the same, and those with fewer patches than a rate needs are left out.

- Burden: the mean calibrated probability against the share labelled IDC; mean error, mean absolute error, and Lin's
  concordance correlation coefficient (Lin 1989, Biometrics 45:255), 1 where both are equal for everyone.
- Dice of the map: 2 TP / (2 TP + FP + FN) of a patient's patches, of those with a patch labelled or called IDC.
- Largest piece: the same of the largest connected pieces, where slides were delivered whole: its patches
  have two of their four neighbours, or more, on average (of a slide thinned to 4 %, they have .2).
- Outcome: by the rule of `bcd.evaluation.outcome`, counted apart for patients with and without a patch of IDC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.calls import is_confident, is_idc
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.intervals import Array, Statistic
from bcd.evaluation.metrics.metrics import Resampled, make_estimate, ratio
from bcd.evaluation.metrics.ranking import divide
from bcd.evaluation.metrics.tallies import tally_by_patient
from bcd.evaluation.outcome import OUTCOMES, Outcome, decide_outcome
from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    import pandas as pd

    from bcd.evaluation.metrics.sample import Sample

PLACE = ["slide", "x", "y"]
"""Columns that place a patch within its patient."""

MIN_NEIGHBOURS = 2.0
"""Mean number of the four neighbours that are there, from which on a slide is a map."""

_EDGES_AND_CORNERS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Pieces:
    """The largest connected pieces of one patient's maps, in patches.

    Attributes:
        labelled: Size of the largest piece that is labelled IDC.
        called: Size of the largest piece that is called IDC.
        shared: Patches that the two share.
    """

    labelled: int
    called: int
    shared: int

    @property
    def dice(self) -> float | None:
        """Dice coefficient of the two pieces; None where there is neither."""
        both = self.labelled + self.called
        return 2 * self.shared / both if both else None


def find_largest_pieces(scores: pd.DataFrame, sample: Sample, called: NDArray[np.bool_]) -> list[Pieces | None]:
    """Finds each patient's largest pieces.

    Args:
        scores: The frame of the sample, with the columns slide, x and y.
        sample: The patches, in the order of the frame.
        called: Whether each patch is called IDC, shape (n,).

    Returns:
        One a patient, in the sample's order; None where no slide of the patient is a map.
    """
    column = scores["x"].to_numpy(dtype=np.int64) // PATCH_PIXELS
    row = scores["y"].to_numpy(dtype=np.int64) // PATCH_PIXELS
    slide = scores["slide"].astype(str).factorize()[0]
    order = np.lexsort((slide, sample.patient))
    ends = np.flatnonzero((np.diff(sample.patient[order]) != 0) | (np.diff(slide[order]) != 0)) + 1
    found: list[Pieces | None] = [None] * len(sample.patients)
    for rows in np.split(order, ends):
        patient = int(sample.patient[rows[0]])
        pieces = _pieces(row[rows], column[rows], sample.positive[rows], called[rows])
        best = found[patient]
        # The patient's largest labelled piece counts; without one, the largest that was called.
        if pieces and (best is None or (pieces.labelled, pieces.called) > (best.labelled, best.called)):
            found[patient] = pieces
    return found


def _pieces(
    row: NDArray[np.int64], column: NDArray[np.int64], positive: NDArray[np.bool_], called: NDArray[np.bool_]
) -> Pieces | None:
    row, column = row - row.min(), column - column.min()
    shape = (int(row.max()) + 1, int(column.max()) + 1)

    def draw(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        grid = np.zeros(shape, dtype=bool)
        grid[row, column] = values
        return grid

    tissue = draw(np.ones(len(row), dtype=bool))
    pairs = np.count_nonzero(tissue[1:] & tissue[:-1]) + np.count_nonzero(tissue[:, 1:] & tissue[:, :-1])
    if 2 * pairs < MIN_NEIGHBOURS * len(row):
        return None
    labelled, found = _largest(draw(positive)), _largest(draw(called))
    return Pieces(
        int(np.count_nonzero(labelled)), int(np.count_nonzero(found)), int(np.count_nonzero(labelled & found))
    )


def _largest(grid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    pieces, _ = ndimage.label(grid, _EDGES_AND_CORNERS)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = (pieces == sizes.argmax()) & grid
    return largest


_FEW_WITHOUT_IDC = 10


class PatientLevel(BaseModel):
    """How well patients, and not patches, are described.

    Attributes:
        burden_error: Mean of predicted minus true tumour burden.
        burden_absolute_error: Mean of its absolute value.
        burden_concordance: Lin's concordance of the two.
        dice: Mean over patients of the map's Dice coefficient.
        piece_dice: Mean over patients of the Dice coefficient of the largest pieces; n/a without whole slides.
        maps: Patients with a slide that is a map.
        outcomes: Patients by outcome, apart for those "with IDC" and "without IDC".
        rule: What decides the outcome, in words.
        descriptive: Whether too few patients have no IDC, so that the outcome describes and validates nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    burden_error: Estimate
    burden_absolute_error: Estimate
    burden_concordance: Estimate
    dice: Estimate
    piece_dice: Estimate
    maps: int
    outcomes: dict[str, dict[str, int]]
    rule: str
    descriptive: bool


@dataclass(frozen=True)
class PatientFacts:
    """Each patient's own figures, in the order of the sample.

    Attributes:
        true_burden: Share of patches labelled IDC, shape (patients,).
        burden: Mean probability of IDC, shape (patients,).
        dice: Dice coefficient of the map; NaN where no patch is labelled or called IDC.
        pieces: Largest pieces; None where the patient has no map.
        outcomes: The outcome of each.
    """

    true_burden: Array
    burden: Array
    dice: Array
    pieces: list[Pieces | None]
    outcomes: list[Outcome]


def find_patient_figures(resampled: Resampled, scores: pd.DataFrame) -> PatientFacts:
    """Finds each patient's figures.

    Args:
        resampled: The sample.
        scores: Its frame, in the same order; without the columns slide, x and y there are no maps.
    """
    sample, t = resampled.sample, resampled.tallies
    probability = np.bincount(sample.patient, weights=sample.probability, minlength=len(sample.patients))
    placed = set(PLACE) <= set(scores.columns)
    return PatientFacts(
        true_burden=t.positive / t.n,
        burden=probability / t.n,
        dice=divide(2 * t.tp, 2 * t.tp + t.fp + t.fn),
        pieces=find_largest_pieces(scores, sample, is_idc(sample.probability)) if placed else [None] * len(t.n),
        outcomes=_outcomes(resampled),
    )


def evaluate_patients(resampled: Resampled, facts: PatientFacts) -> PatientLevel:
    """Evaluates what the patches say of their patients."""
    n, options = resampled.tallies.n, resampled.options
    enough = n >= options.min_patches
    true, said = np.where(enough, facts.true_burden, 0), np.where(enough, facts.burden, 0)
    piece_dice = np.array([np.nan if p is None or p.dice is None else p.dice for p in facts.pieces])

    def estimate(statistic: Statistic, chosen: NDArray[np.bool_]) -> Estimate:
        return make_estimate(statistic, resampled.weights, np.where(chosen, n, 0), options, leverage=chosen)

    def mean(values: Array, chosen: NDArray[np.bool_]) -> Statistic:
        return ratio(np.where(chosen, values, 0), chosen.astype(np.float64))

    has_map, has_pieces = enough & ~np.isnan(facts.dice), enough & ~np.isnan(piece_dice)
    outcomes = count_outcomes(facts.outcomes, resampled.tallies.positive > 0)
    return PatientLevel(
        burden_error=_unfold(estimate(mean((said - true + 1) / 2, enough), enough)),
        burden_absolute_error=estimate(mean(np.abs(said - true), enough), enough),
        burden_concordance=_unfold(estimate(_concordance(true, said, enough), enough)),
        dice=estimate(mean(facts.dice, has_map), has_map),
        piece_dice=estimate(mean(piece_dice, has_pieces), has_pieces),
        maps=sum(pieces is not None for pieces in facts.pieces),
        outcomes=outcomes,
        rule=str(options.outcome),
        descriptive=sum(outcomes["without IDC"].values()) < _FEW_WITHOUT_IDC,
    )


def count_outcomes(outcomes: list[Outcome], has_idc: NDArray[np.bool_]) -> dict[str, dict[str, int]]:
    """Counts patients by outcome, apart for those with and without a patch labelled IDC."""
    groups = {"with IDC": has_idc, "without IDC": ~has_idc}
    return {
        group: {each: sum(o == each and bool(b) for o, b in zip(outcomes, belongs, strict=True)) for each in OUTCOMES}
        for group, belongs in groups.items()
    }


def _outcomes(resampled: Resampled) -> list[Outcome]:
    rule = resampled.options.outcome
    confident = tally_by_patient(resampled.sample, is_confident(resampled.sample.probability, rule.level))
    counts = zip(confident.tp + confident.fp, confident.n, resampled.tallies.n, strict=True)
    return [
        decide_outcome(confident_idc=int(idc), confident=int(confident), patches=int(patches), rule=rule)
        for idc, confident, patches in counts
    ]


def _concordance(true: Array, said: Array, chosen: NDArray[np.bool_]) -> Statistic:
    """Returns Lin's concordance folded into [0, 1], where intervals are made."""
    moments = np.stack([chosen, true, said, true * true, said * said, true * said], axis=1).astype(np.float64)

    def statistic(weights: Array) -> Array:
        sums = weights @ moments
        x, y, xx, yy, xy = (divide(sums[:, i], sums[:, 0]) for i in range(1, 6))
        spread = xx - x * x + yy - y * y + (x - y) ** 2
        return (divide(2 * (xy - x * y), np.where(spread > 1e-12, spread, 0)) + 1) / 2

    return statistic


def _unfold(estimate: Estimate) -> Estimate:
    """Returns an estimate of (x + 1) / 2, in [0, 1], as one of x, in [-1, 1]."""
    ends = {name: getattr(estimate, name) for name in ("value", "low", "high")}
    return estimate.model_copy(update={name: None if end is None else 2 * end - 1 for name, end in ends.items()})
