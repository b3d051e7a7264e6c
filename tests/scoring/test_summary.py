from __future__ import annotations

import pandas as pd
import pytest

from bcd.scoring.options import ScoreOptions
from bcd.scoring.summary import FOUND, NOT_FOUND, UNDECIDED, summarise_patient_scores

OPTIONS = ScoreOptions()


def scores(probability, label=None):
    n = len(probability)
    labels = pd.array([pd.NA] * n if label is None else label, dtype="Int8")
    return pd.DataFrame({"slide": ["5"] * n, "probability": probability, "label": labels})


def test_counts_are_those_done_by_hand():
    summary = summarise_patient_scores(
        scores([0.01, 0.05, 0.4, 0.5, 0.95, 0.99], [0, 0, 1, 0, 1, pd.NA]), OPTIONS, [0.8, 0.99]
    )
    assert [(row.level, row.n, row.idc, row.labelled, row.agreeing) for row in summary.levels] == [
        (0.8, 4, 2, 3, 3),
        (0.95, 4, 2, 3, 3),
        (0.99, 2, 1, 1, 1),
    ]
    assert (summary.everything.n, summary.everything.idc) == (6, 3)
    assert (summary.everything.labelled, summary.everything.agreeing) == (5, 3)
    assert summary.coverage == pytest.approx(4 / 6)
    assert summary.tumour_fraction == pytest.approx(2.9 / 6)
    assert summary.idc_share == pytest.approx(0.5)


def test_predicted_and_true_fraction_are_of_the_same_patches():
    summary = summarise_patient_scores(scores([0.9, 0.9, 0.1, 0.1], [1, 0, pd.NA, pd.NA]), OPTIONS)
    assert (summary.labelled, summary.true_fraction, summary.called_share) == (2, 0.5, 1.0)
    assert summary.idc_share == 0.5


def test_without_labels_nothing_is_said_of_agreement():
    summary = summarise_patient_scores(scores([0.01] * 100), OPTIONS)
    assert (summary.labelled, summary.true_fraction, summary.called_share) == (0, None, None)
    assert summary.everything.agreement is None


@pytest.mark.parametrize(("n", "given"), [(29, False), (30, True)])
def test_agreement_is_given_from_thirty_labelled_patches_on(n, given):
    assert (summarise_patient_scores(scores([0.1] * n, [0] * n), OPTIONS).everything.agreement is not None) == given


@pytest.mark.parametrize(
    ("probability", "outcome"),
    [
        ([0.99] * 3 + [0.5] * 97, FOUND),
        ([0.99] * 2 + [0.01] * 98, NOT_FOUND),
        ([0.99] * 2 + [0.01] * 88 + [0.5] * 10, NOT_FOUND),
        ([0.99] * 2 + [0.01] * 87 + [0.5] * 11, UNDECIDED),
        ([0.01] * 29, UNDECIDED),
    ],
)
def test_the_outcome_is_one_of_three(probability, outcome):
    assert summarise_patient_scores(scores(probability), OPTIONS).outcome == outcome
