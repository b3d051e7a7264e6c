"""What an epoch sees, and what each patch weighs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bcd.training.data import order_epoch_by_patients, order_epoch_naturally, weigh_training_classes

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@given(n=st.integers(1, 300), seed=st.integers(0, 99))
def test_naturally_every_patch_is_seen_once(n: int, seed: int) -> None:
    assert sorted(order_epoch_naturally(n, np.random.default_rng(seed))) == list(range(n))


@given(sizes=SIZES, seed=st.integers(0, 99))
def test_by_patients_everyone_is_seen_equally_often_and_evenly(sizes: list[int], seed: int) -> None:
    patients = np.repeat(np.arange(len(sizes)), sizes)
    order = order_epoch_by_patients(patients, np.random.default_rng(seed))
    assert len(order) == len(patients)
    seen = np.bincount(patients[order], minlength=len(sizes))
    assert seen.max() - seen.min() <= 1
    for patient in range(len(sizes)):  # each of its patches as often as every other
        own = np.bincount(order, minlength=len(patients))[patients == patient]
        assert own.max() - own.min() <= 1


def test_an_epoch_differs_from_the_next_and_not_from_itself() -> None:
    patients = np.repeat(np.arange(5), 20)
    for order in (
        lambda draw: order_epoch_naturally(100, draw),
        lambda draw: order_epoch_by_patients(patients, draw),
    ):
        first, again, other = (order(np.random.default_rng(seed)) for seed in ((1, 1), (1, 1), (1, 2)))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_both_classes_weigh_the_same_in_sum_and_patches_one_on_average() -> None:
    labels = np.array([0] * 9 + [1] * 3)
    weights = weigh_training_classes(labels)
    assert weights.mean() == 1
    np.testing.assert_allclose([weights[labels == 0].sum(), weights[labels == 1].sum()], 6)
