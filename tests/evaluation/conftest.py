from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import sigmoid

MakeScores = Callable[..., pd.DataFrame]


def draw_scores(
    sizes: list[int], *, seed: int = 0, separation: float = 2.0, decimals: int | None = None
) -> pd.DataFrame:
    """Scores of patients of those sizes, each with its own prevalence and its own shift of the logits."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, size in enumerate(sizes):
        label = rng.random(size) < rng.uniform(0.1, 0.8)
        logit = rng.normal(0, 0.7) + separation * (label - 0.5) * 2 + rng.normal(0, 1.5, size)
        frames.append(
            pd.DataFrame(
                {
                    "hospital": "north" if number % 2 else "south",
                    "patient": str(100 + number // 2),  # the same number in two hospitals: two patients
                    "slide": "1",
                    "x": 1 + 50 * np.arange(size),
                    "y": 1,
                    "label": label.astype(np.int8),
                    "split": "test",
                    "logit": logit,
                    "probability": sigmoid(logit if decimals is None else logit.round(decimals)),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="session")
def make_scores() -> MakeScores:
    return draw_scores


@pytest.fixture
def scores() -> pd.DataFrame:
    """Twenty patients of very different sizes, with ties among the probabilities."""
    return draw_scores([400, 90, *range(5, 41, 2)], decimals=1)


@pytest.fixture
def options() -> EvaluateOptions:
    return EvaluateOptions(resamples=200)
