"""Shifts of the pixels: each does what it says, and the unchanged patches lose nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import robustness
from robustness import SHIFTS, evaluate_shift, move, rescale, restain

from bcd.bundle.probes import draw_tissue_probes


@pytest.fixture(scope="module")
def patch() -> np.ndarray:
    return draw_tissue_probes(1)[0]


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_gives_a_patch_of_the_same_shape_and_other_pixels(name: str, patch: np.ndarray) -> None:
    changed = SHIFTS[name](patch)
    assert (changed.shape, changed.dtype) == (patch.shape, np.uint8)
    assert (changed != patch).any()
    assert np.abs(changed.astype(int) - patch).mean() < 40


def test_more_stain_is_darker_and_none_more_is_the_same(patch: np.ndarray) -> None:
    assert restain(0.2)(patch).mean() < restain(0.1)(patch).mean() < patch.mean() < restain(-0.1)(patch).mean()
    assert np.array_equal(restain(0.0)(patch), patch)


def test_a_moved_patch_has_its_pixels_one_further(patch: np.ndarray) -> None:
    assert np.array_equal(move(1)(patch)[1:, 1:], patch[:-1, :-1])


def test_a_magnified_patch_has_its_centre_where_it_was(patch: np.ndarray) -> None:
    assert np.array_equal(rescale(1.0)(patch), patch)
    dot = np.zeros_like(patch)
    dot[24:26, 24:26] = 255
    assert dot.sum() < rescale(1.1)(dot).sum() < 1.3 * dot.sum()


def test_unchanged_logits_lose_nothing_and_turned_ones_lose_all() -> None:
    draw = np.random.default_rng(5)
    patient = np.repeat(np.arange(30), 12)
    label = draw.integers(0, 2, len(patient))
    logit = draw.normal(2.0 * label - 1, 1.0).astype(np.float32)
    scores = pd.DataFrame({"hospital": "h", "patient": patient.astype(str), "label": label, "logit_1": logit})
    scores = scores.assign(fold=patient % robustness.FOLDS, natural=np.tile(np.arange(12) < 8, 30))
    natural = logit[scores["natural"]]
    same = evaluate_shift(scores, "none", natural)
    assert same.loss == 0
    turned = evaluate_shift(scores, "turned", -natural)
    assert turned.auroc == pytest.approx(1 - same.auroc)
    assert turned.calibration_error > same.calibration_error
