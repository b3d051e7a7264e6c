from __future__ import annotations

import pandas as pd
import pytest

from bcd.evaluation.evaluation import Evaluation, evaluate_scores
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.report.published import FOUNDING_TABLE, cruz_roa_table, founding_table
from bcd.formats import format_estimate


@pytest.fixture
def evaluation(scores: pd.DataFrame, options: EvaluateOptions) -> Evaluation:
    stated = options.model_copy(update={"at_prevalence": 0.5})
    return evaluate_scores(scores, stated, snapshot="abc", split="test")


def test_the_founding_table_stands_beside_ours_at_its_own_class_balance(evaluation: Evaluation) -> None:
    table = founding_table(evaluation)
    at = evaluation.at_prevalence
    assert table.header == ["confidence", "whose", "coverage", "accuracy", "precision", "recall"]
    assert table.rows[0] == ["all patches", "founding work", "1.000", ".889", ".879", ".902"]
    assert table.rows[1][1:4] == ["ours", "1.000", format_estimate(at.metrics["accuracy"])]
    assert table.rows[4] == ["≥ 95 %", "founding work", ".532", ".977", ".971", ".979"]
    assert table.rows[5][2] == format_estimate(at.thresholds[1].coverage)
    assert "50:50" in table.caption
    assert "split" in table.caption


def test_the_founding_row_at_99_is_said_to_repeat_that_at_80() -> None:
    by_level = {row.level: row for row in FOUNDING_TABLE}
    again, first = by_level[0.99], by_level[0.80]
    assert (again.accuracy, again.precision, again.recall) == (first.accuracy, first.precision, first.recall)
    assert "repeat" in again.note
    assert all(not row.note for row in FOUNDING_TABLE if row.level != 0.99)


def test_a_level_that_ours_lacks_is_not_available(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    own = options.model_copy(update={"at_prevalence": 0.5, "levels": [0.9]})
    table = founding_table(evaluate_scores(scores, own, snapshot="abc", split="test"))
    assert table.rows[3] == ["", "ours", "n/a", "n/a", "n/a", "n/a"]


def test_published_results_on_the_same_patients_stand_beside_ours(evaluation: Evaluation) -> None:
    table = cruz_roa_table(evaluation)
    assert table.rows[0] == ["Cruz-Roa et al. 2014", ".718", ".842"]
    assert table.rows[-1] == [
        "ours",
        format_estimate(evaluation.pooled["f1"]),
        format_estimate(evaluation.pooled["balanced_accuracy"]),
    ]
