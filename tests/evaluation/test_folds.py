"""Folds: patients stay whole, and the folds hold about as many patches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bcd.evaluation.folds import deal_evaluation_folds


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=30), folds=st.integers(1, 5))
def test_patients_stay_whole_and_folds_differ_by_one_patient_at_most(sizes: list[int], folds: int) -> None:
    patients = np.repeat([f"east/{i}" for i in range(len(sizes))], sizes).astype(object)
    dealt = deal_evaluation_folds(patients, folds)
    for patient in np.unique(patients.astype(str)):
        assert len(set(dealt[patients == patient])) == 1
    filled = np.bincount(dealt, minlength=folds)
    assert filled.max() - filled.min() <= max(sizes)


def test_the_order_of_patches_changes_nobodys_fold() -> None:
    patients = np.repeat([f"p{i}" for i in range(20)], 7).astype(object)
    order = np.random.default_rng(0).permutation(len(patients))
    np.testing.assert_array_equal(
        deal_evaluation_folds(patients[order], 3), deal_evaluation_folds(patients, 3)[order]
    )
