"""Options of a training: what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from bcd.errors import BcdError
from bcd.training.options import TrainOptions


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (3, 3), (0, 1)])
def test_a_fold_that_there_is_not_cannot_be_left_out(folds: int, fold: int) -> None:
    with pytest.raises(BcdError, match=rf"\b{fold} of {folds}\b"):
        TrainOptions(folds=folds, fold=fold)


@pytest.mark.parametrize("chooses", [{"keep": "best"}, {"keep": "last", "patience": 2}])
def test_without_val_patients_none_may_choose_the_epoch(chooses: dict[str, Any]) -> None:
    with pytest.raises(BcdError, match="min_val_patients = 0"):
        TrainOptions(min_val_patients=0, **chooses)
