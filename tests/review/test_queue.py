"""What a patch is worth, and which patches are picked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bcd.review.queue import APART, pick_patches, tell_why, value_patches


def grid(columns: int, rows: int = 1, *, patient: str = "1", **told: Any) -> pd.DataFrame:
    places = [(1 + 50 * column, 1 + 50 * row) for row in range(rows) for column in range(columns)]
    frame = pd.DataFrame(places, columns=["x", "y"])
    for name, value in {"hospital": "east", "patient": patient, "slide": "5", "spread": np.nan, **told}.items():
        frame[name] = value
    return frame


def test_a_patch_is_worth_its_uncertainty_the_disagreement_and_the_contrast_to_its_neighbours() -> None:
    scores = grid(3, probability=[0.9, 0.1, 0.7], complete=True, spread=[0.1, np.nan, 0.0])
    valued = value_patches(scores)
    assert valued["uncertainty"].tolist() == pytest.approx([0.2, 0.2, 0.6])
    assert valued["disagreement"].tolist() == pytest.approx([0.2, 0, 0])
    assert valued["contrast"].tolist() == pytest.approx([0.8, 0.7, 0.6])  # against .1, the mean of .9 and .7, and .1
    assert valued["value"].tolist() == pytest.approx([1.2, 0.9, 1.2])
    first, second, third = tell_why(valued)
    assert first == second != third


def test_neighbours_say_nothing_where_patches_of_the_slide_are_missing() -> None:
    both = pd.concat(
        [
            grid(2, probability=[0.9, 0.1], complete=False),
            grid(2, patient="2", probability=[0.9, 0.1], complete=True),
        ],
        ignore_index=True,
    )
    assert value_patches(both)["contrast"].tolist() == pytest.approx([0, 0, 0.8, 0.8])


def test_patches_of_the_queue_lie_apart_on_their_slide() -> None:
    candidates = grid(20, 20, value=np.random.default_rng(1).random(400))
    picked = candidates.iloc[pick_patches(candidates, 400)]
    columns, rows = (picked[name].to_numpy() // 50 for name in ("x", "y"))
    distance = np.maximum(abs(columns[:, None] - columns), abs(rows[:, None] - rows))
    assert distance[~np.eye(len(picked), dtype=bool)].min() >= APART
    assert picked["value"].iloc[0] == candidates["value"].max()
    assert len(picked) > 20


def test_the_queue_is_spread_over_patients() -> None:
    hard = grid(100, patient="hard", value=np.linspace(1, 0.9, 100))
    others = [grid(100, patient=str(number), value=np.linspace(0.5, 0.4, 100)) for number in range(9)]
    candidates = pd.concat([hard, *others], ignore_index=True)
    picked = Counter(candidates["patient"].iloc[pick_patches(candidates, 30)])
    assert len(picked) == 10
    assert picked["hard"] == max(picked.values()) == 5  # of 30, where three each were even
    assert min(picked.values()) >= 2


def test_the_budget_is_kept_and_equals_are_taken_in_their_order() -> None:
    candidates = pd.concat([grid(9, patient=name, value=0.5) for name in "abc"], ignore_index=True)
    picked = candidates.iloc[pick_patches(candidates, 4)]
    assert list(zip(picked["patient"], picked["x"], strict=True)) == [("a", 1), ("b", 1), ("c", 1), ("a", 151)]
    assert len(pick_patches(candidates, 100)) == 9  # no other lies apart
    assert pick_patches(candidates.iloc[:0], 5).tolist() == []


def test_a_patch_of_another_slide_is_not_near() -> None:
    candidates = pd.concat([grid(1, value=0.5, slide=slide) for slide in ("5", "6")], ignore_index=True)
    assert sorted(pick_patches(candidates, 5).tolist()) == [0, 1]
