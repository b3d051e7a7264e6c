from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.metrics.thresholds import threshold_row, threshold_table
from bcd.evaluation.options import EvaluateOptions


def test_a_row_is_computed_from_the_patches_that_it_keeps(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    row = threshold_table(Resampled.of(make_evaluation_sample(scores), options))[0]
    p, positive = scores["probability"].to_numpy(), scores["label"].to_numpy() == 1
    confident, called = np.maximum(p, 1 - p) >= 0.8, p >= 0.5
    assert row.level == 0.8
    assert row.n == confident.sum()
    assert row.patients == scores[confident].groupby(["hospital", "patient"]).ngroups
    assert row.coverage.value == pytest.approx(confident.mean())
    assert row.coverage_positive.value == pytest.approx(confident[positive].mean())
    assert row.coverage_negative.value == pytest.approx(confident[~positive].mean())
    assert row.accuracy.value == pytest.approx((called == positive)[confident].mean())
    assert row.precision.value == pytest.approx(positive[confident & called].mean())
    assert row.recall.value == pytest.approx(called[confident & positive].mean())
    assert row.recall_of_all.value == pytest.approx((confident & called)[positive].mean())
    assert row.specificity.value == pytest.approx(1 - called[confident & ~positive].mean())
    assert row.npv.value == pytest.approx(1 - positive[confident & ~called].mean())
    assert row.specificity_of_all.value == pytest.approx((confident & ~called)[~positive].mean())
    by_patient = (
        scores[confident].assign(right=(called == positive)[confident]).groupby(["hospital", "patient"])["right"]
    )
    assert row.accuracy_macro.value == pytest.approx(by_patient.mean().mean())
    assert row.effective_patients == pytest.approx(by_patient.size().sum() ** 2 / (by_patient.size() ** 2).sum())
    assert row.accuracy.low < row.accuracy.value < row.accuracy.high
    assert row.accuracy.n_patches == row.n
    assert row.recall_of_all.n_patches == positive.sum()


def test_the_founding_levels_are_the_default() -> None:
    assert EvaluateOptions().levels == [0.80, 0.95, 0.99, 0.999, 0.9999]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(0, 6)), min_size=1, max_size=80))
def test_patches_patients_and_coverage_only_fall_from_row_to_row(rows: list[tuple[bool, float, int]]) -> None:
    label, p, patient = zip(*rows, strict=True)
    frame = pd.DataFrame({"hospital": "north", "patient": patient, "label": label, "probability": p})
    options = EvaluateOptions(resamples=100, min_patches=1, min_patients=1)
    table = threshold_table(Resampled.of(make_evaluation_sample(frame), options))
    for above, below in pairwise(table):
        assert below.n <= above.n
        assert below.patients <= above.patients
        assert below.coverage.value <= above.coverage.value
        for column in ("coverage_positive", "coverage_negative", "recall_of_all", "specificity_of_all"):
            upper, lower = getattr(above, column).value, getattr(below, column).value
            assert upper is None or lower <= upper


def test_a_row_that_keeps_too_little_has_no_rates_but_its_coverage(
    scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    scores["probability"] = scores["probability"].clip(0.001, 0.9989)
    last = threshold_table(Resampled.of(make_evaluation_sample(scores), options))[-1]
    assert (last.n, last.patients, last.coverage.value) == (0, 0, 0)
    assert last.coverage.high > 0  # nothing confident of 20 patients does not show that nothing ever will be
    assert last.accuracy.value is last.precision.value is last.recall.value is None
    assert last.npv.value is last.specificity.value is last.accuracy_macro.value is None
    assert last.effective_patients == 0


def test_each_row_describes_its_own_patches_and_not_those_of_a_row_before() -> None:
    """The founding table's 99 % row repeats the rates of its 80 % row: here each row differs from every other."""
    right, wrong = {"label": 1}, {"label": 0}
    bands = [(0.85, 12, 8), (0.97, 14, 6), (0.995, 16, 4), (0.9995, 18, 2), (0.99995, 19, 1)]
    rows = [
        {"hospital": "north", "patient": str(patch % 20), "probability": p, **kind}
        for p, n_right, n_wrong in bands
        for patch, kind in enumerate([right] * n_right + [wrong] * n_wrong)
    ] * 10
    table = threshold_table(Resampled.of(make_evaluation_sample(pd.DataFrame(rows)), EvaluateOptions(resamples=100)))
    assert [row.n for row in table] == [1000, 800, 600, 400, 200]
    assert [row.accuracy.value for row in table] == pytest.approx([0.79, 67 / 80, 53 / 60, 37 / 40, 19 / 20])
    assert [row.precision.value for row in table] == [row.accuracy.value for row in table]  # all are called IDC


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_two_rows_have_equal_counts_only_where_they_keep_the_same_patches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "hospital": "north",
            "patient": rng.integers(0, 12, 60),
            "label": rng.integers(0, 2, 60),
            "probability": rng.choice([0.5, 0.85, 0.97, 0.995, 0.9995, 0.99995], 60),
        }
    )
    table = threshold_table(Resampled.of(make_evaluation_sample(frame), EvaluateOptions(resamples=100)))
    between = [
        int(((frame["probability"] >= above.level) & (frame["probability"] < below.level)).sum())
        for above, below in pairwise(table)
    ]
    assert [above.n - below.n for above, below in pairwise(table)] == between


def test_a_row_can_be_made_at_a_certified_threshold(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    row = threshold_row(Resampled.of(make_evaluation_sample(scores), options), 0.873)
    p = scores["probability"].to_numpy()
    assert (row.level, row.n) == (0.873, (np.maximum(p, 1 - p) >= 0.873).sum())


@pytest.mark.parametrize("levels", [[], [0.95, 0.8], [0.8, 0.8], [0.4], [1.0]])
def test_levels_that_make_no_table_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValidationError):
        EvaluateOptions(levels=levels)
