"""What a study found against its compute: references are neither paid for nor finds, pruned epochs are paid for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from search import Found, best_at, draw_curve, reach, value_at

from bcd.networks.architecture import PRESETS
from bcd.search.records import TrialRecord
from bcd.training.options import TrainOptions


def make_trial(number: int, value: float, epochs: int, **changes: Any) -> TrialRecord:
    given: dict[str, Any] = {"state": "complete", "multiply_adds": 50, "allowed": True, "kind": "proposed"} | changes
    return TrialRecord(
        number=number,
        value=value,
        params={},
        architecture=PRESETS["compact"],
        training=TrainOptions(),
        parameters=1000,
        seconds=1.0,
        history=[{"val_score": value}] * epochs,
        **given,
    )


TRIALS = [
    make_trial(0, 0.99, 9, multiply_adds=100, kind="reference"),
    make_trial(1, 0.80, 8),
    make_trial(2, 0.95, 3, state="pruned"),
    make_trial(3, 0.97, 8, allowed=False),
    make_trial(4, 0.0, 0, state="too large"),
    make_trial(5, 0.90, 8),
    make_trial(6, 0.85, 8),
]


def test_what_is_found_and_what_it_cost() -> None:
    curve = draw_curve(TRIALS, lambda trial: trial.number / 10)
    assert curve == [Found(4.0, 0.80, 0.1), Found(13.5, 0.90, 0.5)]
    assert best_at(curve, 3.9) is None
    assert (value_at(curve, 3.9, "val"), value_at(curve, 13.5, "val"), value_at(curve, 99, "held_out")) == (
        0.5,
        0.9,
        0.5,
    )


@pytest.mark.parametrize(
    ("goal", "budget", "spent"), [(0.8, 20, 4.0), (0.81, 20, 13.5), (0.81, 13, np.inf), (0.91, 20, np.inf)]
)
def test_after_how_much_compute_a_value_is_there(goal: float, budget: float, spent: float) -> None:
    assert reach(draw_curve(TRIALS, lambda _: 0.0), goal, budget) == spent
