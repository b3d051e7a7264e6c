"""Risk and coverage, beside what the definitions say, patch by patch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_scores import ScoreModel, draw_synthetic_scores
from sklearn.metrics import roc_auc_score

from bcd.evaluation.metrics.metrics import Resampled
from bcd.evaluation.metrics.risk_coverage import RiskCoverage, make_confidence_steps, risk_coverage
from bcd.evaluation.metrics.sample import Sample, make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions


def _augrc_of_traub(sample: Sample) -> float:
    """By its equation 8: from how well confidence tells right from wrong, and the accuracy."""
    wrong = (sample.probability >= 0.5) != sample.positive
    accuracy = 1 - wrong.mean()
    told_apart = roc_auc_score(~wrong, np.maximum(sample.probability, 1 - sample.probability))
    return float((1 - told_apart) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2)


def _aurc_by_definition(sample: Sample) -> float:
    wrong = (sample.probability >= 0.5) != sample.positive
    sure = np.maximum(sample.probability, 1 - sample.probability)
    return float(np.mean([wrong[sure >= at].mean() for at in sure]))


def _once(sample: Sample) -> np.ndarray:
    return np.ones((1, len(sample.patients)))


def test_areas_are_those_of_the_definitions_with_ties(scores: pd.DataFrame) -> None:
    sample = make_evaluation_sample(scores)
    steps = make_confidence_steps(sample)
    assert steps.augrc(_once(sample))[0] == pytest.approx(_augrc_of_traub(sample), abs=1e-12)
    assert steps.aurc(_once(sample))[0] == pytest.approx(_aurc_by_definition(sample), abs=1e-12)


def test_many_confidences_in_few_steps_change_hardly_anything() -> None:
    sample = make_evaluation_sample(draw_synthetic_scores(ScoreModel(), 60, seed=1))
    steps = make_confidence_steps(sample)
    assert steps.confident.shape[1] == 1000
    assert steps.augrc(_once(sample))[0] == pytest.approx(_augrc_of_traub(sample), rel=1e-3)
    assert steps.aurc(_once(sample))[0] == pytest.approx(_aurc_by_definition(sample), rel=5e-3)


def test_a_resample_is_the_sample_with_its_patients_repeated(scores: pd.DataFrame) -> None:
    sample = make_evaluation_sample(scores)
    weights = np.random.default_rng(1).integers(0, 3, len(sample.patients))
    rows = np.repeat(np.arange(len(sample.positive)), weights[sample.patient])
    repeated = Sample(sample.positive[rows], sample.probability[rows], sample.patient[rows], sample.patients)
    steps = make_confidence_steps(sample)
    assert steps.augrc(weights[None].astype(float))[0] == pytest.approx(_augrc_of_traub(repeated))
    assert steps.aurc(weights[None].astype(float))[0] == pytest.approx(_aurc_by_definition(repeated))


def test_the_curve_ends_at_all_patches_with_the_error_of_all(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    evaluated = Resampled.of(make_evaluation_sample(scores), options)
    curve = risk_coverage(evaluated)
    last = curve.points[-1]
    assert last.coverage == 1
    assert last.risk.value == pytest.approx(1 - evaluated.pooled()["accuracy"].value)
    assert last.risk.low < last.risk.value < last.risk.high
    assert curve.augrc.low < curve.augrc.value < curve.augrc.high
    assert curve.aurc.low < curve.aurc.value < curve.aurc.high
    assert RiskCoverage.model_validate_json(curve.model_dump_json()) == curve


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=60))
def test_coverage_rises_as_confidence_falls(rows: list[tuple[bool, float, int]]) -> None:
    label, p, patient = zip(*rows, strict=True)
    frame = pd.DataFrame({"hospital": "north", "patient": patient, "label": label, "probability": p})
    points = risk_coverage(Resampled.of(make_evaluation_sample(frame), EvaluateOptions(resamples=100))).points
    assert points[-1].coverage == 1
    assert (np.diff([point.coverage for point in points]) > 0).all()
    assert (np.diff([point.confidence for point in points]) < 0).all()


def test_scores_that_know_when_they_err_have_smaller_areas() -> None:
    scores = draw_synthetic_scores(ScoreModel(), 40, seed=2)
    knowing = make_evaluation_sample(scores)
    blind = make_evaluation_sample(
        scores.assign(probability=0.5 + 0.3 * np.sign(scores["probability"] - 0.5))
    )  # one confidence
    for area in ("aurc", "augrc"):
        known, unknown = (
            getattr(make_confidence_steps(sample), area)(_once(sample))[0] for sample in (knowing, blind)
        )
        assert known < 0.5 * unknown
