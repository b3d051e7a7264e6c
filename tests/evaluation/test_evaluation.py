from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.evaluation.evaluation import Evaluation, evaluate_scores, headline
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.context import Context
from bcd.evaluation.policy.policy import fit_policy
from bcd.evaluation.report.sections import subgroup_tables
from bcd.patches import patient_keys


@pytest.fixture
def evaluation(scores: pd.DataFrame, options: EvaluateOptions) -> Evaluation:
    return evaluate_scores(scores, options, snapshot="abc", split="test")


def test_an_evaluation_survives_json_exactly(evaluation: Evaluation) -> None:
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_the_order_of_rows_changes_nothing(
    scores: pd.DataFrame, evaluation: Evaluation, options: EvaluateOptions
) -> None:
    shuffled = evaluate_scores(scores.sample(frac=1, random_state=4), options, snapshot="abc", split="test")
    for subgroup in ("pooled", "patient_macro", "without_largest"):
        for metric, estimate in getattr(evaluation, subgroup).items():
            other = getattr(shuffled, subgroup)[metric]
            assert other.model_dump() == pytest.approx(estimate.model_dump(), abs=1e-12), metric
    assert shuffled.thresholds == evaluation.thresholds


def test_the_largest_patient_is_named_and_left_out(scores: pd.DataFrame, evaluation: Evaluation) -> None:
    assert (evaluation.largest_patient, evaluation.largest_patches) == ("south/100", 400)
    assert evaluation.without_largest["accuracy"].n_patches == len(scores) - 400
    assert evaluation.without_largest["accuracy"].n_patients == 19


def test_each_patient_has_a_row(scores: pd.DataFrame, evaluation: Evaluation) -> None:
    assert [(row.hospital, row.patient) for row in evaluation.per_patient] == sorted(
        set(zip(scores["hospital"], scores["patient"], strict=True))
    )
    assert sum(row.patches for row in evaluation.per_patient) == evaluation.n_patches == len(scores)
    assert sum(row.positive for row in evaluation.per_patient) == scores["label"].sum()


def test_the_figures_are_flat_numbers_without_what_is_not_available(evaluation: Evaluation) -> None:
    figures = evaluation.figures()
    assert figures["test_auroc_pooled"] == evaluation.pooled["auroc"].value
    assert figures["test_auroc_pooled_low"] == evaluation.pooled["auroc"].low
    assert figures["test_recall_macro_high"] == evaluation.patient_macro["recall"].high
    assert figures["test_patients"] == 20
    assert "test_ece_macro" not in figures
    assert all(type(value) is float and np.isfinite(value) for value in figures.values())


def test_the_headline_is_a_handful_of_the_figures(evaluation: Evaluation) -> None:
    figures = evaluation.figures()
    chosen = headline(figures)
    assert len(chosen) == 9
    assert chosen.items() <= figures.items()
    assert headline({"val_auroc_pooled": 0.9, "val_accuracy_pooled": 0.8, "other": 1.0}) == {"val_auroc_pooled": 0.9}


def test_one_patient_is_evaluated_without_pretending_to_know_more(
    make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions
) -> None:
    alone = evaluate_scores(make_scores([300]), options, snapshot="abc", split="test")
    assert alone.without_largest == {}
    assert alone.pooled["auroc"].value is None
    assert alone.per_patient[0].auroc is not None
    lowered = options.model_copy(update={"min_patients": 1})
    estimate = evaluate_scores(make_scores([300]), lowered, snapshot="abc", split="test").pooled["auroc"]
    assert estimate.value is not None
    assert estimate.low is estimate.high is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.drop(columns="probability"), r"\bprobability\b"),
        (lambda s: s.assign(probability=s["logit"]), "\\[0, 1\\]"),
        (lambda s: s.assign(probability=np.nan), "\\[0, 1\\]"),
        (lambda s: s.assign(label=pd.array([pd.NA] * len(s), dtype="Int8")), "label 0 or 1"),
        (lambda s: s.assign(label=2), "label 0 or 1"),
    ],
)
def test_scores_that_cannot_be_evaluated_are_refused_by_name(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], message: str, scores: pd.DataFrame, options: EvaluateOptions
) -> None:
    with pytest.raises(BcdError, match=message):
        evaluate_scores(spoil(scores), options, snapshot="abc", split="test")


def test_no_patch_is_insufficient_evidence(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    with pytest.raises(InsufficientEvidenceError):
        evaluate_scores(scores.iloc[:0], options, snapshot="abc", split="test")


def test_4200_patches_take_about_a_second_with_2000_resamples(make_scores: Callable[..., pd.DataFrame]) -> None:
    scores = make_scores([1640, *[91] * 28])
    start = time.process_time()
    evaluate_scores(scores, EvaluateOptions(), snapshot="abc", split="test")
    assert time.process_time() - start < 3


def test_the_options_are_read_without_heavy_libraries() -> None:
    code = (
        "import sys, bcd.evaluation.options\n"
        "print([m for m in ('numpy', 'pandas', 'scipy', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_complete_slides_are_evaluated_alone_and_in_context(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    assert evaluate_scores(scores, options, snapshot="abc", split="test").context is None
    whole = (scores["patient"].astype(int) < 108).to_numpy()
    right = np.where(scores["label"] == 1, 0.9, 0.1)
    joined = scores.assign(context_probability=np.where(whole, right, np.nan))
    stage = Context(own=1, neighbours=1, intercept=0, n_patients=4)
    policy = fit_policy(scores["logit"], scores["label"], patient_keys(scores), options)
    policy = policy.model_copy(update={"context": stage})
    evaluation = evaluate_scores(joined, options, snapshot="abc", split="test", policy=policy)
    context = evaluation.context
    assert context is not None
    assert (context.n_patches, context.n_patients) == (whole.sum(), 16)
    alone = evaluate_scores(scores[whole], options, snapshot="abc", split="test")
    assert (context.alone, context.alone_macro) == (alone.pooled, alone.patient_macro)
    assert context.pooled["auroc"].value == 1
    gain = context.differences["auroc"]
    assert gain.value == pytest.approx(1 - (alone.pooled["auroc"].value or 0))
    assert gain.low is not None
    assert gain.low > 0
    assert [row.level for row in context.thresholds] == options.levels
    assert context.thresholds[0].coverage.value == 1
    assert re.findall(r"\d+", context.standing) == ["4", "10"]
    headline = evaluation.figures()
    assert headline["test_auroc_in_context"] == 1
    assert headline["test_auroc_alone_on_complete"] == alone.pooled["auroc"].value
    table = subgroup_tables(evaluation)["Neighbours"]
    assert context.standing in table.caption
    assert table.rows[0][1] != table.rows[0][2]
    everything = evaluate_scores(scores, options, snapshot="abc", split="test", policy=policy)
    assert evaluation.pooled == everything.pooled  # the first stage is what it was
