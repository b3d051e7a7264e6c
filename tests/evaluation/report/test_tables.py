from __future__ import annotations

import pandas as pd
import pytest

from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.metrics.compare import compare_metrics
from bcd.evaluation.metrics.estimates import Difference, Estimate
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.report.tables import (
    difference_table,
    format_difference,
    format_estimate,
    format_level,
    format_percent,
    headline_table,
    threshold_parts,
    threshold_rows,
)

MINUS = "\N{MINUS SIGN}"
ENDS = f"[{MINUS}.004, +.028]"


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=low, high=high, n_patches=100, n_patients=10)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (estimate(0.9531, 0.9214, 0.9739), ".953 [.921, .974]"),
        (estimate(1.0, 0.8767, 1.0), "1.000 [.877, 1.000]"),
        (estimate(0.0, 0.0, 0.12), ".000 [.000, .120]"),
        (estimate(0.75), ".750 [n/a]"),
        (estimate(None), "n/a"),
    ],
)
def test_a_metric_is_shown_with_its_interval(figure: Estimate, text: str) -> None:
    assert format_estimate(figure) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, f"+.012 {ENDS}"), (-0.0123, f"{MINUS}.012 {ENDS}"), (0.0, f"+.000 {ENDS}")],
)
def test_a_difference_is_shown_with_its_sign(value: float, text: str) -> None:
    difference = Difference(value=value, low=-0.004, high=0.028, n_patches=100, n_patients=10)
    assert format_difference(difference) == text


def test_levels_and_shares_are_shown_as_per_cent() -> None:
    assert [format_level(level) for level in EvaluateOptions().levels] == [
        "80 %",
        "95 %",
        "99 %",
        "99.9 %",
        "99.99 %",
    ]
    assert format_percent(estimate(0.4567)) == "45.7 %"
    assert format_percent(estimate(None)) == "n/a"


def test_tables_say_what_they_are_of(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    evaluation = evaluate_scores(scores, options, snapshot="abc", split="test")
    metrics, thresholds = headline_table(evaluation), threshold_rows(evaluation)
    expected = f"Test split: {len(scores):,} patches of 20 patients ({evaluation.effective_patients:.1f} effective)"
    for table in (metrics, thresholds):
        assert table.caption.startswith(expected)
        assert all(len(row) == len(table.header) for row in table.rows)
    assert metrics.header == ["metric", "pooled", "patient-macro", "leave-one-patient-out: south/100 (400 patches)"]
    assert metrics.rows[0] == [
        "AUROC",
        format_estimate(evaluation.pooled["auroc"]),
        format_estimate(evaluation.patient_macro["auroc"]),
        format_estimate(evaluation.without_largest["auroc"]),
    ]
    assert [row[0] for row in thresholds.rows] == ["≥ 80 %", "≥ 95 %", "≥ 99 %", "≥ 99.9 %", "≥ 99.99 %"]


def test_the_parts_of_the_threshold_table_hold_all_of_it(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    evaluation = evaluate_scores(scores, options, snapshot="abc", split="test")
    whole, parts = threshold_rows(evaluation), threshold_parts(evaluation).values()
    assert sorted(name for part in parts for name in part.header) == sorted([*whole.header, "confidence"])
    for part in parts:
        for row, of_whole in zip(part.rows, whole.rows, strict=True):
            named = dict(zip(whole.header, of_whole, strict=True))
            assert row == [named[name] for name in part.header]


def test_markdown_keeps_a_bar_in_a_name_inside_its_cell(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    scores["hospital"] = "st|mary"
    lines = headline_table(evaluate_scores(scores, options, snapshot="abc", split="test")).markdown().splitlines()
    assert r"st\|mary/100" in lines[2]
    assert lines[3] == "| --- | ---: | ---: | ---: |"
    assert len(lines) == 4 + 11


def test_a_comparison_is_a_table_too(scores: pd.DataFrame, options: EvaluateOptions) -> None:
    table = difference_table(compare_metrics(scores, scores, options), caption="Challenger minus champion.")
    assert table.rows[0][:2] == ["AUROC", "+.000 [+.000, +.000]"]
    assert table.markdown().startswith("Challenger minus champion.\n\n| metric |")
