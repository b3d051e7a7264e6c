"""The benchmark of drift: an interval that knows that draws share patients, and the tables that it makes."""

from __future__ import annotations

import drift
import numpy as np
import pytest
from drift import SHIFTS, draw_hospitals, interval_by_patient

from bcd.bundle.probes import draw_tissue_probes
from bcd.drift.compare import compare
from bcd.drift.profiles import Profile, Profiles
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


def make_known(statistics: tuple[str, ...], *, seed: int) -> tuple[Profiles, list[Profile]]:
    """Thirty patients as a bundle knows them, and as those of a delivery."""
    values = np.random.default_rng(seed).normal(size=(30, len(statistics))).tolist()
    found = [Profile(patches=9, means=dict(zip(statistics, row, strict=True))) for row in values]
    hospitals, patches = (drift.HOSPITAL,) * 30, (9,) * 30
    within = (1.0,) * len(statistics)
    return Profiles(statistics=statistics, within=within, hospitals=hospitals, patches=patches, means=values), found


def test_deliveries_of_made_up_hospitals_are_flagged_by_the_rule_of_the_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (known, pictures), (known_scores, scores) = (
        make_known(names, seed=seed) for seed, names in enumerate([("contrast", "tissue"), ("logit", "confidence")])
    )
    made = Known(pictures=known, scores=known_scores), pictures, scores
    monkeypatch.setattr(drift, "make_hospital", lambda _seed: made)
    levels, rates = draw_hospitals(1, 150)
    random, p = np.random.default_rng(0), []
    for _ in levels:
        mine, others = (part.tolist() for part in np.split(random.permutation(30), [10]))
        compared = [
            compare(profiles.take(others), [found[at] for at in mine])
            for profiles, found in ((known, pictures), (known_scores, scores))
        ]
        p.append(min(each.p for each in compared if each))
    flagged = [level != FINE for level in levels]
    assert flagged == [smallest <= DELIVERY_RATE / 2 for smallest in p]  # pictures and scores at half the rate each
    assert any(DELIVERY_RATE / 2 < smallest <= DELIVERY_RATE for smallest in p)
    assert rates.tolist() == [np.mean(flagged)]


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_gives_a_patch_of_the_same_shape_and_other_pixels(name: str) -> None:
    [patch] = draw_tissue_probes(1)
    changed = SHIFTS[name](patch)
    assert (changed.shape, changed.dtype) == (patch.shape, np.uint8)
    assert (changed != patch).any()
