"""Intervals of one patient's figures: patches side by side are alike, so that many are worth few independent ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta
from slide_intervals import TRUTH, draw_field, draw_slide_scores

from bcd.evaluation.outcome import FOUND, NOT_FOUND, UNDECIDED, OutcomeRule
from bcd.scoring.intervals import (
    HELD_BELOW,
    LEAST_ACROSS,
    LEAST_DRAWS,
    Ends,
    LevelIntervals,
    PlacedPatches,
    estimate_level_intervals,
    list_outcomes_within,
)
from bcd.scoring.summary import MIN_PATCHES


def slide_of(rows: int, columns: int, slide: str = "1") -> pd.DataFrame:
    row, column = np.indices((rows, columns)).reshape(2, -1)
    return pd.DataFrame({"slide": slide, "x": 50 * column + 1, "y": 50 * row + 1})


def draws_of(patches: pd.DataFrame, values: np.ndarray) -> float:
    found = PlacedPatches.of(patches, values).draws
    assert found is not None
    return found


def ends_of(patches: pd.DataFrame, values: np.ndarray) -> Ends:
    found = PlacedPatches.of(patches, values).interval(values)
    assert found is not None
    return found


def test_patches_that_have_nothing_in_common_are_worth_about_themselves() -> None:
    found = [draws_of(slide_of(30, 30), np.random.default_rng(seed).random(900)) for seed in range(20)]
    assert 500 < np.median(found) <= 901


def test_patches_that_are_alike_over_a_distance_are_worth_what_its_covariance_says() -> None:
    reach, patches = 3.0, slide_of(40, 40)
    row, column = np.indices((40, 40)).reshape(2, -1)
    distance = np.hypot(row[:, None] - row, column[:, None] - column)
    expected = 1 / np.exp(-distance / reach).mean()
    rng = np.random.default_rng(1)
    found = [draws_of(patches, draw_field(rng, 40, reach).ravel()) for _ in range(30)]
    assert np.median(found) == pytest.approx(expected, rel=0.35)
    assert expected < 50


def test_it_holds_the_mean_of_such_tissue_where_one_by_patches_does_not() -> None:
    rng, patches = np.random.default_rng(3), slide_of(32, 32)
    held, naive = [], []
    for _ in range(100):
        p = draw_slide_scores(rng, 32, 3.0).ravel()
        found = PlacedPatches.of(patches, p).interval(p)
        if found is not None:
            held.append(found[0] <= TRUTH <= found[1])
        naive.append(abs(p.mean() - TRUTH) <= 1.96 * p.std(ddof=1) / 32)
    assert len(held) > 80
    assert np.mean(held) >= 0.85
    assert np.mean(naive) < 0.4


def test_where_the_tissue_lies_on_the_slide_does_not_matter() -> None:
    p = draw_slide_scores(np.random.default_rng(0), 20, 2.0).ravel()
    moved = slide_of(20, 20).assign(x=lambda patches: patches["x"] + 350, y=lambda patches: patches["y"] + 150)
    assert ends_of(moved, p) == ends_of(slide_of(20, 20), p)


def test_a_second_slide_is_worth_as_much_again() -> None:
    p = draw_slide_scores(np.random.default_rng(5), 20, 2.0).ravel()
    both = pd.concat([slide_of(20, 20, "1"), slide_of(20, 20, "2")])
    assert 1.8 < draws_of(both, np.tile(p, 2)) / draws_of(slide_of(20, 20), p) < 3


@pytest.mark.parametrize("n", [1, MIN_PATCHES - 1])
def test_few_patches_have_no_interval(n: int) -> None:
    values = np.random.default_rng(0).random(n)
    assert PlacedPatches.of(slide_of(1, n), values).interval(values) is None
    more = np.random.default_rng(0).random(MIN_PATCHES)
    assert PlacedPatches.of(slide_of(30, 30)[::30], more).interval(more) is None  # a column of them
    assert PlacedPatches.of(slide_of(30, 30)[::31], more).interval(more) is not None


@pytest.mark.parametrize(
    ("rows", "columns", "given"), [(19, 19, False), (20, 20, True), (10, 40, True), (9, 40, False)]
)
def test_a_slide_that_shows_few_pieces_of_tissue_has_no_interval(rows: int, columns: int, *, given: bool) -> None:
    values = np.random.default_rng(0).random(rows * columns)
    placed = PlacedPatches.of(slide_of(rows, columns), values)
    assert placed.across == pytest.approx((rows * columns) ** 0.5)
    assert (placed.across >= LEAST_ACROSS, placed.interval(values) is not None) == (given, given)


def test_the_smallest_that_has_one_holds_the_truth_as_often_as_the_report_says() -> None:
    rng, patches = np.random.default_rng(4), slide_of(LEAST_ACROSS, LEAST_ACROSS)
    held = {}
    for reach in (2.0, 8.0):
        found = []
        for _ in range(60):
            p = draw_slide_scores(rng, LEAST_ACROSS, reach).ravel()
            ends = PlacedPatches.of(patches, p).interval(p)
            found += [] if ends is None else [ends[0] <= TRUTH <= ends[1]]
        held[reach] = np.mean(found)
    assert held[8.0] == pytest.approx(HELD_BELOW[0], abs=0.13)
    assert held[8.0] < held[2.0] <= HELD_BELOW[1] + 0.04


def test_tissue_of_one_piece_has_no_interval() -> None:
    slope = np.indices((24, 24))[0].ravel() / 24
    placed = PlacedPatches.of(slide_of(24, 24), slope)
    assert placed.draws is not None
    assert placed.draws < LEAST_DRAWS
    assert placed.interval(slope) is None


def test_values_that_are_all_the_same_say_nothing_of_how_they_vary() -> None:
    same = PlacedPatches.of(slide_of(10, 10), np.full(100, 0.3))
    assert (same.draws, same.interval(same.probability)) == (None, None)


def test_a_share_seen_nowhere_may_yet_be_in_other_tissue() -> None:
    p = draw_slide_scores(np.random.default_rng(2), 32, 2.0).ravel()
    placed = PlacedPatches.of(slide_of(32, 32), p)
    found = placed.interval(np.zeros(len(p), bool))
    assert found is not None
    assert placed.draws is not None
    assert found == (0, pytest.approx(beta.ppf(0.975, 1, placed.draws)))


def test_levels_have_intervals_around_their_shares_and_agreement_from_enough_labels() -> None:
    rng = np.random.default_rng(0)
    p = draw_slide_scores(rng, 30, 1.0).ravel()
    label = np.where(np.arange(900) < 400, rng.random(900) < p, -1).astype(np.int8)
    placed = PlacedPatches.of(slide_of(30, 30), p)
    low, high = estimate_level_intervals(placed, label, [0.6, 0.8])
    for found, level in ((low, 0.6), (high, 0.8)):
        confident = np.maximum(p, 1 - p) >= level
        known = confident & (label >= 0)
        shares = {
            "coverage": confident.mean(),
            "idc": (confident & (p >= 0.5)).mean(),
            "none": (confident & (p < 0.5)).mean(),
            "agreement": ((p >= 0.5) == (label == 1))[known].mean(),
        }
        for name, share in shares.items():
            ends = getattr(found, name)
            assert ends[0] < share < ends[1]
    few = np.where(np.arange(900) < MIN_PATCHES - 1, label, -1)
    [short] = estimate_level_intervals(placed, few, [0.6])
    assert short.agreement is None
    assert short.idc == low.idc


@pytest.mark.parametrize(
    ("coverage", "idc", "within"),
    [
        ((0.2, 0.4), (0.1, 0.3), (FOUND,)),
        ((0.2, 0.4), (0.0, 0.3), (FOUND, UNDECIDED)),
        ((0.95, 1.0), (0.0, 0.02), (NOT_FOUND,)),
        ((0.85, 1.0), (0.0, 0.02), (NOT_FOUND, UNDECIDED)),
        ((0.85, 1.0), (0.0, 0.2), (FOUND, NOT_FOUND, UNDECIDED)),
        (None, (0.0, 0.02), (NOT_FOUND, UNDECIDED)),
        ((0.2, 0.4), None, None),
    ],
)
def test_outcomes_are_those_that_the_intervals_allow(coverage, idc, within) -> None:
    found = LevelIntervals(coverage=coverage, idc=idc, none=None, agreement=None)
    assert list_outcomes_within(found, 100, OutcomeRule()) == within
