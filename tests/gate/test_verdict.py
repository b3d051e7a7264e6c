"""What is said of test patients: figures with intervals, or why there are none."""

from __future__ import annotations

import re

from bcd.gate.verdict import describe_verdict_figures


def test_figures_are_told_with_intervals_and_how_many_patients():
    figures = {
        "test_auroc_pooled": 0.953,
        "test_auroc_pooled_low": 0.9,
        "test_auroc_pooled_high": 0.98,
        "test_patients": 40,
    }

    told = describe_verdict_figures("bcd-idc/2", figures)
    assert told.startswith("bcd-idc/2 ")
    assert re.findall(r"[\d.]*\d", told.partition(" ")[2]) == ["40", ".953", ".900", ".980"]


def test_too_few_patients_and_none_are_told_apart():
    few, none = (describe_verdict_figures("x", figures) for figures in ({"test_patients": 2}, {}))
    assert (re.findall(r"\d+", few), re.findall(r"\d+", none)) == (["2"], [])
