from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bcd.evaluation.metrics import Judged
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.sample import read_sample
from bcd.evaluation.thresholds import threshold_table


def test_a_row_is_computed_from_the_patches_that_it_keeps(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    row = threshold_table(Judged.of(read_sample(scores), options))[0]
    p, positive = scores["probability"].to_numpy(), scores["label"].to_numpy() == 1
    kept, called = np.maximum(p, 1 - p) >= 0.8, p >= 0.5
    assert row.level == 0.8
    assert row.n == kept.sum()
    assert row.patients == scores[kept].groupby(["hospital", "patient"]).ngroups
    assert row.coverage.value == pytest.approx(kept.mean())
    assert row.coverage_positive.value == pytest.approx(kept[positive].mean())
    assert row.coverage_negative.value == pytest.approx(kept[~positive].mean())
    assert row.accuracy.value == pytest.approx((called == positive)[kept].mean())
    assert row.precision.value == pytest.approx(positive[kept & called].mean())
    assert row.recall.value == pytest.approx(called[kept & positive].mean())
    assert row.recall_of_all.value == pytest.approx((kept & called)[positive].mean())
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
    table = threshold_table(Judged.of(read_sample(frame), options))
    for above, below in pairwise(table):
        assert below.n <= above.n
        assert below.patients <= above.patients
        assert below.coverage.value <= above.coverage.value
        for column in ("coverage_positive", "coverage_negative", "recall_of_all"):
            upper, lower = getattr(above, column).value, getattr(below, column).value
            assert upper is None or lower <= upper


def test_a_row_that_keeps_too_little_has_no_rates_but_its_coverage(
    scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    scores["probability"] = scores["probability"].clip(0.001, 0.9989)
    last = threshold_table(Judged.of(read_sample(scores), options))[-1]
    assert (last.n, last.patients, last.coverage.value) == (0, 0, 0)
    assert last.coverage.high > 0  # nothing kept of 20 patients does not show that nothing ever will be
    assert last.accuracy.value is last.precision.value is last.recall.value is None


@pytest.mark.parametrize("levels", [[], [0.95, 0.8], [0.8, 0.8], [0.4], [1.0]])
def test_levels_that_make_no_table_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValidationError):
        EvaluateOptions(levels=levels)
