from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_scores import ScoreModel, draw_synthetic_scores
from sklearn.metrics import precision_recall_curve, roc_curve

from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.report.curves import curve_points, make_band


def test_points_are_those_of_scikit_learn(scores: pd.DataFrame) -> None:
    label, p = scores["label"], scores["probability"]
    fpr, tpr, _ = roc_curve(label, p, drop_intermediate=False)
    found = curve_points("roc", make_evaluation_sample(scores))
    assert found is not None
    np.testing.assert_allclose(found, (fpr, tpr))
    precision, recall, _ = precision_recall_curve(label, p)
    found = curve_points("pr", make_evaluation_sample(scores))
    assert found is not None
    np.testing.assert_allclose(found, (recall[-2::-1], precision[-2::-1]))


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_a_band_surrounds_its_curve(kind: Any, scores: pd.DataFrame) -> None:
    sample = make_evaluation_sample(scores)
    band = make_band(kind, sample, EvaluateOptions(resamples=300))
    points = curve_points(kind, sample)
    assert points is not None
    x, y = points
    curve = np.interp(band.x, x, y)
    inside = (band.low - 0.02 <= curve) & (curve <= band.high + 0.02)
    assert inside.mean() > 0.9
    assert (band.high >= band.low).all()


def test_a_band_narrows_with_more_patients() -> None:
    options = EvaluateOptions(resamples=200)

    def width(n_patients: int) -> float:
        band = make_band(
            "roc", make_evaluation_sample(draw_synthetic_scores(ScoreModel(), n_patients, seed=5)), options
        )
        return float((band.high - band.low).mean())

    assert width(300) < 0.7 * width(30)


def test_no_band_on_few_patients_or_one_class(
    make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions
) -> None:
    assert make_band("roc", make_evaluation_sample(make_scores([50] * 9)), options) is None
    one_class = make_scores([50] * 12).assign(label=1)
    assert make_band("roc", make_evaluation_sample(one_class), options) is None
    assert curve_points("roc", make_evaluation_sample(one_class)) is None
