from __future__ import annotations

import pytest

from bcd.evaluation.metrics.estimates import Difference, Estimate
from bcd.evaluation.options import EvaluateOptions
from bcd.formats import (
    format_count,
    format_difference,
    format_estimate,
    format_level,
    format_percent,
    format_signed,
    format_some,
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


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.5, 1, "+.5"), (1.26, 1, "+1.3"), (-12.04, 1, f"{MINUS}12.0"), (-0.04, 1, "+.0"), (-0.5, 2, f"{MINUS}.50")],
)
def test_a_signed_figure_has_as_many_digits_as_are_asked_for(value: float, digits: int, text: str) -> None:
    assert format_signed(value, digits) == text


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


def test_a_number_of_things_is_shown_with_its_noun() -> None:
    assert [format_count(number, "patch", "es") for number in (0, 1, 1200)] == [
        "0 patches",
        "1 patch",
        "1,200 patches",
    ]


def test_of_many_things_the_first_are_shown_and_how_many_more_there_are() -> None:
    assert format_some([], 2) == ""
    assert format_some(["a", "b"], 2) == "a, b"
    assert format_some(["a", "b", "c"], 2) == "a, b, and 1 more"
    assert format_some([str(number) for number in range(1202)], 2, between="; ") == "0; 1; and 1,200 more"
