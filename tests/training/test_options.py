"""Options of a training: what they refuse, and what they still read."""

from __future__ import annotations

import pytest

from bcd.errors import BcdError
from bcd.training.options import TrainOptions


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (3, 3), (0, 1)])
def test_a_fold_that_there_is_not_cannot_be_left_out(folds: int, fold: int) -> None:
    with pytest.raises(BcdError, match=f"Fold {fold} of {folds} cannot be left out"):
        TrainOptions(folds=folds, fold=fold)


def test_one_strength_of_jitter_in_an_older_record_is_read_as_both() -> None:
    older = TrainOptions.model_validate({"augmentation": 0.5, "seed": 3})
    assert older == TrainOptions(stain_jitter=0.5, light_jitter=0.5, seed=3)
