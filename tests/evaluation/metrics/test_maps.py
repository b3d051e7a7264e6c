from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bcd.evaluation.metrics.patients import Pieces, find_largest_pieces
from bcd.evaluation.metrics.sample import make_evaluation_sample


def read_map(labels: list[str], called: list[str], slide: str = "1", patient: str = "7") -> pd.DataFrame:
    """Reads a map drawn in characters: # is IDC, . is none, a blank is background."""
    rows = [
        {
            "hospital": "north",
            "patient": patient,
            "slide": slide,
            "x": 1 + 50 * x,
            "y": 1 + 50 * y,
            "label": int(cell == "#"),
            "probability": 0.9 if called[y][x] == "#" else 0.1,
        }
        for y, line in enumerate(labels)
        for x, cell in enumerate(line)
        if cell != " "
    ]
    return pd.DataFrame(rows)


def pieces_of(scores: pd.DataFrame) -> list[Pieces | None]:
    sample = make_evaluation_sample(scores)
    return find_largest_pieces(scores, sample, sample.probability >= 0.5)


TWO_PIECES = ["##...", "##...", "....#", "....."]
SHIFTED = [".##..", ".##..", ".....", "#...."]


def test_the_largest_pieces_are_compared() -> None:
    assert pieces_of(read_map(TWO_PIECES, SHIFTED)) == [Pieces(labelled=4, called=4, shared=2)]
    assert pieces_of(read_map(TWO_PIECES, SHIFTED))[0].dice == 0.5


def test_pieces_hang_together_by_their_corners() -> None:
    assert pieces_of(read_map(["#..", ".#.", "..#"], ["...", "...", "..."])) == [Pieces(3, 0, 0)]


def test_the_order_of_the_rows_changes_nothing() -> None:
    scores = read_map(TWO_PIECES, SHIFTED).sample(frac=1, random_state=3)
    assert pieces_of(scores) == [Pieces(4, 4, 2)]


def test_a_patient_s_slides_are_told_apart_and_the_one_with_the_largest_piece_counts() -> None:
    small = read_map(["#..", "...", "..."], ["...", "...", "..."], slide="2")
    assert pieces_of(pd.concat([small, read_map(TWO_PIECES, SHIFTED)], ignore_index=True)) == [Pieces(4, 4, 2)]


def test_without_idc_there_is_no_dice() -> None:
    assert pieces_of(read_map(["....", "...."], ["....", "...."]))[0].dice is None


@pytest.mark.parametrize("share", [0.04, 0.2])
def test_a_thinned_slide_is_no_map(share: float) -> None:
    whole = read_map(["#" * 60] * 60, ["#" * 60] * 60)
    kept = np.random.default_rng(1).random(len(whole)) < share
    assert pieces_of(whole) == [Pieces(3600, 3600, 3600)]
    assert pieces_of(whole[kept].reset_index(drop=True)) == [None]
