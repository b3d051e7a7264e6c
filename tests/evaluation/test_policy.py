from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bcd
from bcd.evaluation.policy import Policy, confidence, fit_policy, is_confident, is_idc

PROBABILITY = st.floats(0, 1)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99, 0.999, 0.9999])
def test_a_patch_exactly_at_the_level_counts_and_one_just_below_does_not(level: float) -> None:
    below = np.nextafter(level, 0)
    assert is_confident([level, below], level).tolist() == [True, False]


@given(PROBABILITY, st.floats(0.5, 0.9999))
def test_confidence_has_no_favourite_class(probability: float, level: float) -> None:
    mirrored = 1 - probability
    assert confidence(mirrored) == pytest.approx(confidence(probability))
    assert is_confident(probability, level) == (confidence(probability) >= level)


@given(PROBABILITY, st.floats(0.5, 0.9999), st.floats(0.5, 0.9999))
def test_what_is_confident_at_a_level_is_confident_at_every_lower_one(p: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert not is_confident(p, high) or is_confident(p, low)


def test_one_half_is_called_idc() -> None:
    assert is_idc([0.5, np.nextafter(0.5, 0)]).tolist() == [True, False]


def test_confidence_is_compared_in_one_place_only() -> None:
    compared = re.compile(r"confidence\([^)]*\)\s*[<>]|np\.maximum\(p, 1 - p\)")
    root = Path(bcd.__file__).parent
    places = [file.name for file in root.rglob("*.py") if compared.search(file.read_text())]
    assert places == ["policy.py"]


def test_a_policy_survives_json_exactly() -> None:
    policy = fit_policy([-2.0, -1.0, 0.5, 3.0], [0, 0, 1, 1], [0.8, 0.9999])
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
