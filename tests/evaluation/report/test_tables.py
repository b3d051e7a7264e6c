from __future__ import annotations

import pandas as pd

from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.metrics.compare import compare_metrics
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.report.tables import difference_table, headline_table, threshold_parts, threshold_rows
from bcd.formats import format_estimate


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
