"""What is said of test patients: figures with intervals, or why there are none."""

from __future__ import annotations

from bcd.gate.verdict import describe_verdict_figures


def test_figures_are_told_with_intervals_and_how_many_patients():
    figures = {
        "test_auroc_pooled": 0.953,
        "test_auroc_pooled_low": 0.9,
        "test_auroc_pooled_high": 0.98,
        "test_patients": 40,
    }

    assert describe_verdict_figures("bcd-idc/2", figures) == "bcd-idc/2 on 40 test patients: AUROC .953 [.900, .980]."


def test_too_few_patients_and_none_are_told_apart():
    assert (
        describe_verdict_figures("bcd-idc/2", {"test_patients": 2})
        == "bcd-idc/2: 2 test patients are too few for a figure."
    )
    assert describe_verdict_figures("bcd-idc/2", {}) == "bcd-idc/2: nothing is known of test patients."
