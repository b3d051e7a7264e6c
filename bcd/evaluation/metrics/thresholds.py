"""The threshold table: what is confident at each level, how well, and for how many patients.

The levels are those of the founding work. The number of patches and the coverage fall from row to row by
construction: a row is the patches of the row before that are also confident at its own level.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.calls import is_confident
from bcd.evaluation.metrics.estimates import Estimate
from bcd.evaluation.metrics.intervals import Array
from bcd.evaluation.metrics.metrics import Resampled, make_estimate, ratio
from bcd.evaluation.metrics.tallies import tally_by_patient
from bcd.options import Probability


class ThresholdRow(BaseModel):
    """One level of the threshold table.

    Attributes:
        level: Confidence from which a patch counts as confident.
        n: Confident patches.
        patients: Patients with a confident patch.
        effective_patients: Kish's effective number of patients, by their confident patches; 0 where none is.
        coverage: Share of all patches that is confident.
        coverage_positive: Share of the patches of IDC that is confident.
        coverage_negative: Share of the patches without IDC that is confident.
        accuracy: Among the confident.
        accuracy_macro: Among the confident of a patient, as the mean over patients; 1 minus it is the error that a
            certified threshold is about.
        precision: Among the confident that are called IDC.
        npv: Among the confident that are called none.
        recall: Among the confident that are IDC.
        specificity: Among the confident that are without IDC.
        recall_of_all: Confident and called IDC, among all that are IDC: what is found without a person.
        specificity_of_all: Confident and called none, among all without IDC: what is cleared without a person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Probability
    n: int
    patients: int
    effective_patients: float
    coverage: Estimate
    coverage_positive: Estimate
    coverage_negative: Estimate
    accuracy: Estimate
    accuracy_macro: Estimate
    precision: Estimate
    npv: Estimate
    recall: Estimate
    specificity: Estimate
    recall_of_all: Estimate
    specificity_of_all: Estimate


def threshold_table(resampled: Resampled) -> list[ThresholdRow]:
    """Makes a row for each level of the options."""
    return [threshold_row(resampled, level) for level in resampled.options.levels]


def threshold_row(resampled: Resampled, level: Probability) -> ThresholdRow:
    """Makes the row of one level, such as a certified threshold.

    Args:
        resampled: The sample.
        level: Confidence from which a patch counts as confident, in [0.5, 1].
    """
    confident = tally_by_patient(resampled.sample, is_confident(resampled.sample.probability, level))
    everything = resampled.tallies
    squares = float((confident.n**2).sum())

    def share(part: Array, whole: Array) -> Estimate:
        return make_estimate(ratio(part, whole), resampled.weights, whole, resampled.options)

    right = confident.tp + confident.tn
    each = np.divide(right, confident.n, out=np.zeros_like(right), where=confident.n > 0)
    counted = (confident.n > 0).astype(np.float64)
    macro = ratio(each, counted)
    return ThresholdRow(
        level=level,
        n=int(confident.n.sum()),
        patients=int(np.count_nonzero(confident.n)),
        effective_patients=float(confident.n.sum() ** 2 / squares) if squares else 0.0,
        coverage=share(confident.n, everything.n),
        coverage_positive=share(confident.positive, everything.positive),
        coverage_negative=share(confident.negative, everything.negative),
        accuracy=share(right, confident.n),
        accuracy_macro=make_estimate(macro, resampled.weights, confident.n, resampled.options, leverage=counted),
        precision=share(confident.tp, confident.tp + confident.fp),
        npv=share(confident.tn, confident.tn + confident.fn),
        recall=share(confident.tp, confident.positive),
        specificity=share(confident.tn, confident.negative),
        recall_of_all=share(confident.tp, everything.positive),
        specificity_of_all=share(confident.tn, everything.negative),
    )
