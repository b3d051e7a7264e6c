"""The benchmark of drift: an interval that knows that draws share patients, and the tables that it makes."""

from __future__ import annotations

import numpy as np
import pytest
from drift import SHIFTS, draw_levels, interval_by_patient, make_hospital

from bcd.bundle.probes import draw_tissue_probes
from bcd.drift.compare import compare
from bcd.drift.profiles import Profile
from bcd.drift.state import DELIVERY_RATE, FINE, Known


def draw(rate_of, *, patients: int = 60, size: int = 10, draws: int = 1500, seed: int = 0):
    random = np.random.default_rng(seed)
    members = [random.permutation(patients)[:size] for _ in range(draws)]
    return [bool(random.random() < rate_of(mine)) for mine in members], members


def test_flags_that_no_patient_brings_about_have_the_interval_of_the_draws() -> None:
    low, rate, high = interval_by_patient(*draw(lambda _: 0.2), 60)
    assert rate == pytest.approx(0.2, abs=0.03)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.16 / 1500), rel=0.8)


def test_a_patient_who_brings_them_about_widens_it() -> None:
    usual = interval_by_patient(*draw(lambda _: 0.2), 60)
    one = interval_by_patient(*draw(lambda mine: 0.9 if (mine < 2).any() else 0.0), 60)
    assert one[2] - one[0] > 3 * (usual[2] - usual[0])


def test_no_flag_is_a_rate_of_nothing() -> None:
    assert interval_by_patient(*draw(lambda _: 0.0), 60) == (0, 0, 0)


@pytest.fixture(scope="module")
def hospital() -> tuple[Known, list[Profile], list[Profile]]:
    return make_hospital(0, patients=30)


@pytest.mark.parametrize("scored", [False, True])
def test_deliveries_are_flagged_by_the_rule_of_the_product_pictures_and_scores_at_half_the_rate_each(
    hospital: tuple[Known, list[Profile], list[Profile]], scored: bool
) -> None:
    known, pictures, scores = hospital
    levels, _ = draw_levels(known, pictures, scores if scored else [], 10, 120, seed=0)
    random, p = np.random.default_rng(0), []
    for _ in levels:
        mine, others = np.split(random.permutation(30), [10])
        compared = [compare(known.pictures.take(others.tolist()), [pictures[at] for at in mine])]
        if scored:
            compared.append(compare(known.scores.take(others.tolist()), [scores[at] for at in mine]))
        p.append(min(each.p for each in compared))
    flagged = np.array([level != FINE for level in levels])
    assert flagged.tolist() == [smallest <= DELIVERY_RATE / 2 for smallest in p]
    assert sum(DELIVERY_RATE / 2 < smallest <= DELIVERY_RATE for smallest in p) > 0  # a rule of all of it flags these
    assert flagged.mean() < DELIVERY_RATE


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_gives_a_patch_of_the_same_shape_and_other_pixels(name: str) -> None:
    [patch] = draw_tissue_probes(1)
    changed = SHIFTS[name](patch)
    assert (changed.shape, changed.dtype) == (patch.shape, np.uint8)
    assert (changed != patch).any()
