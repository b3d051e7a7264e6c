"""The comparison: false alarms as rare as it says, whatever patients are like, and shifts that it sees."""

from __future__ import annotations

import numpy as np
import pytest

from bcd.drift.compare import FEWEST, compare


@pytest.mark.parametrize("size", [1, 4, 30])
def test_patients_like_the_others_are_called_unlike_as_often_as_it_says(draw, found, profiles, size: int) -> None:
    p = []
    for seed in range(150):
        patients = draw(60 + size, seed=seed)
        p.append(compare(profiles(patients[:60]), found(patients[60:])).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
    assert 0.4 < np.mean(p) < 0.6


def test_patients_with_heavy_tails_are_no_false_alarms(found, profiles) -> None:
    random, p = np.random.default_rng(0), []
    for _ in range(150):
        patients = random.standard_t(1.5, (50, 1, 3)) + random.normal(0, 0.1, (50, 5, 3))
        p.append(compare(profiles(patients[:40]), found(patients[40:])).p)
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)


def test_a_shift_of_ten_patients_is_seen_and_named(draw, found, profiles) -> None:
    known = profiles(draw(80, seed=1))
    compared = compare(known, found(draw(10, seed=3, shift=(0, 2, 0))))
    assert compared.p <= 0.002
    assert next(iter(compared.shifts)) == "tissue"
    assert compared.shifts["tissue"] == pytest.approx(2, abs=0.8)
    assert (compared.patients, compared.known) == (10, 80)


def test_one_patient_is_as_rare_as_the_known_ones_who_are_farther(draw, found, profiles) -> None:
    known = profiles(draw(80, seed=1))
    assert compare(known, found(draw(1, seed=4, shift=(0, 30, 0)))).p == pytest.approx(1 / 81)


def test_a_mean_of_few_patches_has_room_to_differ(draw, found, profiles) -> None:
    known = profiles(draw(80, seed=1))
    few = found(np.full((1, 1, 3), 3.0))
    many = found(np.full((1, 1000, 3), 3.0))
    assert compare(known, few).p > compare(known, many).p
    assert compare(known, few).largest < compare(known, many).largest


def test_the_same_again_gives_the_same(draw, found, profiles) -> None:
    known, some = profiles(draw(80, seed=1)), found(draw(10, seed=9))
    assert compare(known, some) == compare(known, some)


def test_few_known_patients_are_not_compared_with(draw, found, profiles) -> None:
    assert compare(profiles(draw(FEWEST - 1, seed=1)), found(draw(3, seed=2))) is None


def test_what_could_not_be_measured_counts_as_usual(draw, found, profiles) -> None:
    known = profiles(draw(80, seed=1))
    [one] = found(draw(1, seed=2))
    blind = type(one)(patches=one.patches, means={"contrast": one.means["contrast"]})
    assert compare(known, [blind]).shifts["tissue"] == 0


def test_a_statistic_that_no_patient_varies_in_does_no_harm(found, profiles, draw) -> None:
    patients = draw(50, seed=1)
    patients[..., 0] = 4
    assert 0 < compare(profiles(patients[:40]), found(patients[40:])).p <= 1
