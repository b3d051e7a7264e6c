"""Levels: what makes a delivery unusual, what makes it one not to be trusted, and what is foreign."""

from __future__ import annotations

import numpy as np
import pytest

from bcd.drift.profiles import Profiles
from bcd.drift.state import (
    FINE,
    NOT_COMPARED,
    UNTRUSTED,
    UNUSUAL,
    Drift,
    Known,
    assess_delivery,
    assess_slide,
    join_drifts,
)
from bcd.patches import Hospital, SlideId

EAST, WEST = Hospital("east"), Hospital("west")
SCORES = ("logit", "probability", "abstained")


def test_patients_like_those_learned_from_are_fine(known: Known, draw, found) -> None:
    state = assess_delivery(known, EAST, found(draw(12, seed=11)), found(draw(12, seed=12), SCORES))
    assert (state.level, state.foreign, state.colour, state.reasons) == (FINE, False, "plain", ())
    assert (state.patients, state.known) == (12, 80)
    assert state.p > 0.05
    assert set(state.shifts) == {"contrast", "tissue", "eosin", *SCORES}


def test_a_small_shift_of_pictures_is_unusual_and_a_large_one_is_not_to_be_trusted(known, draw, found) -> None:
    small = assess_delivery(known, EAST, found(draw(60, seed=11, shift=(0.7, 0, 0))))
    large = assess_delivery(known, EAST, found(draw(12, seed=11, shift=(3, 0, 0))))
    assert (small.level, small.colour) == (UNUSUAL, "yellow")
    assert (large.level, large.colour) == (UNTRUSTED, "red")
    assert "contrast" in large.reasons[0]


def test_a_shift_of_probabilities_alone_is_never_more_than_unusual(known: Known, draw, found) -> None:
    for far in (2, 50):
        scores = found(draw(12, seed=12, shift=(far, far, 0)), SCORES)
        state = assess_delivery(known, EAST, found(draw(12, seed=11)), scores)
        assert state.level == UNUSUAL
        slide = assess_slide(known, EAST, SlideId("5"), found(draw(1, seed=11))[0], scores[0])
        assert slide.level in {FINE, UNUSUAL}
    assert slide.level == UNUSUAL


def test_pictures_that_are_not_to_be_trusted_stay_so_whatever_the_scores_say(known: Known, draw, found) -> None:
    pictures = found(draw(12, seed=11, shift=(5, 0, 0)))
    assert assess_delivery(known, EAST, pictures, found(draw(12, seed=12), SCORES)).level == UNTRUSTED


def test_a_hospital_that_nobody_learned_from_is_foreign_whatever_the_numbers_say(known: Known, draw, found) -> None:
    fine = assess_delivery(known, WEST, found(draw(12, seed=11)))
    assert (fine.level, fine.foreign, fine.colour) == (FINE, True, "yellow")
    assert fine.title == "fine, foreign hospital"
    assert "west is foreign" in fine.reasons[0]
    assert assess_delivery(known, WEST, found(draw(12, seed=11, shift=(9, 0, 0)))).colour == "red"


def test_a_delivery_is_compared_with_its_own_hospital_where_it_has_enough_patients(draw, found, profiles) -> None:
    east, west = (
        profiles(draw(40, seed=seed, shift=(far, 0, 0)), hospital=name)
        for seed, far, name in ((1, 0, "east"), (2, 9, "west"))
    )
    both = Profiles(
        statistics=east.statistics,
        within=east.within,
        **{name: getattr(east, name) + getattr(west, name) for name in ("hospitals", "patches", "means")},
    )
    known = Known(pictures=both, scores=both)
    pictures = found(draw(10, seed=3, shift=(9, 0, 0)))
    assert (assess_delivery(known, WEST, pictures).level, assess_delivery(known, WEST, pictures).known) == (
        FINE,
        40,
    )
    assert assess_delivery(known, EAST, pictures).level == UNTRUSTED


def test_slides_have_a_rate_of_their_own(known: Known, draw, found, profiles) -> None:
    levels = []
    for seed in range(200):
        patients = draw(41, seed=seed)
        few = Known(pictures=profiles(patients[:40]), scores=profiles(patients[:40]))
        levels.append(assess_slide(few, EAST, SlideId("5"), found(patients[40:])[0], None).level)
    expected = 1 / 41  # forty patients cannot tell a rarer one
    assert 0 < np.mean([level != FINE for level in levels]) < expected + 3 * np.sqrt(expected / 200)
    assert (
        assess_slide(known, EAST, SlideId("5"), found(draw(1, seed=5, shift=(15, 0, 0)))[0], None).level == UNTRUSTED
    )


def test_a_bundle_without_profiles_says_that_nothing_was_compared(draw, found) -> None:
    state = assess_delivery(None, EAST, found(draw(3, seed=1)))
    assert (state.level, state.foreign, state.p) == (NOT_COMPARED, None, None)
    assert state.reasons


def test_too_few_known_patients_are_said_and_foreign_is_still_told(draw, found, profiles) -> None:
    few = Known(pictures=profiles(draw(5, seed=1)), scores=profiles(draw(5, seed=1)))
    state = assess_delivery(few, WEST, found(draw(3, seed=1)))
    assert (state.level, state.foreign, len(state.reasons)) == (NOT_COMPARED, True, 2)


@pytest.mark.parametrize(("levels", "worst"), [((FINE, UNUSUAL), UNUSUAL), ((UNTRUSTED, FINE), UNTRUSTED)])
def test_the_worst_of_several_counts_and_every_reason_is_told_once(levels, worst) -> None:
    states = [Drift(level=level, foreign=False, reasons=("foreign", level)) for level in levels]
    joined = join_drifts(states)
    assert joined.level == worst
    assert sorted(joined.reasons) == sorted({"foreign", *levels})
