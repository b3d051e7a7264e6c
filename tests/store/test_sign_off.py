"""Whoever decides something says so with name and reason, and no decision is taken without."""

from __future__ import annotations

import pytest

from bcd.errors import BcdError
from bcd.store.sign_off import SignOff


@pytest.mark.parametrize(
    ("by", "reason", "option"),
    [
        ("", "a letter", "--by"),
        ("  ", "a letter", "--by"),
        ("x" * 256, "a letter", "--by"),
        ("Dr Lee", " ", "--reason"),
        ("Dr Lee", "x" * 5001, "--reason"),
    ],
)
def test_a_sign_off_without_name_or_reason_is_refused_and_names_the_option(by: str, reason: str, option: str) -> None:
    with pytest.raises(BcdError) as told:
        SignOff(by, reason)
    assert option in told.value.what


def test_the_same_person_for_the_same_reason_is_the_same_sign_off_whenever_given() -> None:
    first, again = SignOff("Dr Lee", "a letter"), SignOff("Dr Lee", "a letter")
    assert first.at <= again.at
    assert first == again
    assert first != SignOff("Dr Lee", "another letter")
    assert SignOff.of({"hospital": "east", **vars(first)}) == first
