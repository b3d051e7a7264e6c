"""The threshold table: what is decided at each confidence, how well, and for how many patients.

The levels are those of the founding work. The number of patches and the coverage fall from row to row by
construction: a row is the patches of the row before that are also confident at its own level.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.bootstrap import Array
from bcd.evaluation.estimates import Estimate
from bcd.evaluation.metrics import Judged, make_estimate
from bcd.evaluation.policy import is_confident
from bcd.evaluation.ranking import divide
from bcd.evaluation.tallies import tally


class ThresholdRow(BaseModel):
    """One level of the threshold table.

    Attributes:
        level: Confidence from which a patch is kept.
        n: Patches kept.
        patients: Patients with a patch kept.
        coverage: Share of all patches that is kept.
        coverage_positive: Share of the patches of IDC that is kept.
        coverage_negative: Share of the patches without IDC that is kept.
        accuracy: Among the kept.
        precision: Among the kept that are called IDC.
        recall: Among the kept that are IDC.
        recall_of_all: Kept and called IDC, among all that are IDC: what is found without a person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float
    n: int
    patients: int
    coverage: Estimate
    coverage_positive: Estimate
    coverage_negative: Estimate
    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    recall_of_all: Estimate


def threshold_table(judged: Judged) -> list[ThresholdRow]:
    """Makes a row for each level of the options."""
    return [_row(judged, level) for level in judged.options.levels]


def _row(judged: Judged, level: float) -> ThresholdRow:
    kept = tally(judged.sample, is_confident(judged.sample.probability, level))
    everything = judged.tallies

    def share(part: Array, whole: Array) -> Estimate:
        value = divide(np.atleast_1d(part.sum()), np.atleast_1d(whole.sum()))
        resampled = divide(judged.weights @ part, judged.weights @ whole)
        return make_estimate(float(value[0]), resampled, whole, judged.options)

    return ThresholdRow(
        level=level,
        n=int(kept.n.sum()),
        patients=int(np.count_nonzero(kept.n)),
        coverage=share(kept.n, everything.n),
        coverage_positive=share(kept.positive, everything.positive),
        coverage_negative=share(kept.negative, everything.negative),
        accuracy=share(kept.tp + kept.tn, kept.n),
        precision=share(kept.tp, kept.tp + kept.fp),
        recall=share(kept.tp, kept.positive),
        recall_of_all=share(kept.tp, everything.positive),
    )
