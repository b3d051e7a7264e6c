"""Options of a training: what they refuse."""

from __future__ import annotations

import pytest

from bcd.errors import BcdError
from bcd.training.options import TrainOptions


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (3, 3), (0, 1)])
def test_a_fold_that_there_is_not_cannot_be_left_out(folds: int, fold: int) -> None:
    with pytest.raises(BcdError, match=f"Fold {fold} of {folds} cannot be left out"):
        TrainOptions(folds=folds, fold=fold)
