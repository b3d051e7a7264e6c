"""The released model scores raw patches in one line of Python, and refuses what is not raw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from released_model import TISSUE

from bcd import load_released
from bcd.errors import BcdError
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare


def test_one_line_scores(released: Path) -> None:
    scores = load_released().score(TISSUE)
    assert len(scores) == len(TISSUE)
    assert scores["probability"].between(0, 1).all()
    assert "confident_95" in scores.columns


def test_no_patches_have_no_scores(released: Path) -> None:
    assert len(load_released().score(TISSUE[:0])) == 0


@pytest.mark.parametrize(
    ("patches", "said"),
    [
        (TISSUE / 255.0, "uint8"),
        ((TISSUE // 255).astype(np.uint8), "scaled to 0..1"),
        (prepare(TISSUE, PrepareOptions(sharpen=True)), "sharpened"),
        (TISSUE[:, :40], "50, 50, 3"),
    ],
)
def test_what_is_not_raw_is_refused_with_the_reason(released: Path, patches: np.ndarray, said: str) -> None:
    with pytest.raises(BcdError, match=said):
        load_released().score(patches)
