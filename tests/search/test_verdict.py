"""The rule by which a study chooses: a gain must exceed what seeds and patients explain."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bcd.evaluation.metrics.ranking import concordance
from bcd.evaluation.metrics.sample import Sample
from bcd.search.verdict import Gain, choose, measure_detectable, measure_gain, tell_study_verdict
from bcd.training.history import score_val_by_patients

PATIENTS = 20


def _val(noise: float, seed: int, sizes: tuple[int, int] = (6, 30)) -> Sample:
    """Patients of both sizes in turn; a network's logits are the labels with that much noise."""
    patient = np.repeat(np.arange(PATIENTS), np.resize(sizes, PATIENTS))
    positive = np.arange(len(patient)) % 3 == 0
    logits = positive + np.random.default_rng(seed).normal(0, noise, len(patient))
    return Sample(positive, logits, patient.astype(np.intp), [("east", str(i)) for i in range(PATIENTS)])


def _gain(noise: float, other: float, seeds: int = 3, *, from_seed: int = 0, candidates: int = 1) -> Gain:
    ours = [concordance(_val(noise, from_seed + seed)) for seed in range(seeds)]
    theirs = [concordance(_val(other, from_seed + 100 + seed)) for seed in range(seeds)]
    return measure_gain(7, ours, theirs, _val(1, 0), candidates=candidates)


def test_the_score_is_the_one_that_training_chooses_epochs_by() -> None:
    val = _val(0.8, 3)
    gain = measure_gain(7, [concordance(val)], [concordance(val)], val)
    expected = score_val_by_patients(val.probability, val.positive.astype(int), val.patient)
    assert gain.scores == [pytest.approx(expected, abs=1e-12)]
    assert gain.value == 0
    assert gain.low is None  # the same network shows no spread
    assert not gain.is_shown


def test_a_large_gain_is_shown_and_chosen() -> None:
    gain = _gain(0.5, 1.5)
    assert 0 < gain.low < gain.value < gain.high
    assert (len(gain.scores), gain.patients) == (3, PATIENTS)
    assert choose([gain]) == 7
    assert tell_study_verdict([gain], 7, seeds=3) != tell_study_verdict([gain], 0, seeds=3)


def test_a_loss_and_a_gain_within_noise_leave_the_default() -> None:
    for gain, sign in ((_gain(1.5, 0.5), "−"), (_gain(0.97, 1.0), r"\+")):  # noqa: RUF001
        assert choose([gain]) == 0
        assert re.search(rf"Trial 7\b.* {sign}\.\d", tell_study_verdict([gain], 0, seeds=3))


def test_equals_are_taken_for_better_as_seldom_as_promised() -> None:
    shown = [_gain(1.0, 1.0, from_seed=1000 * number).is_shown for number in range(150)]
    assert sum(shown) <= 9  # 1 in 40 is 4; more than 9 come once in a hundred times


def test_more_candidates_need_a_larger_gain() -> None:
    one, many = _gain(0.8, 1.0), _gain(0.8, 1.0, candidates=10)
    assert many.low < one.low
    assert many.value == one.value


def test_a_detectable_gain_is_seen_about_four_times_in_five() -> None:
    seen = []
    for number in range(60):
        default = [concordance(_val(1.0, 1000 * number + seed)) for seed in range(3)]
        other = [concordance(_val(0.75, 1000 * number + 500 + seed)) for seed in range(3)]
        gain = measure_gain(7, other, default, _val(1, 0))
        seen.append((measure_detectable(default, _val(1, 0), candidates=1), gain))
    detectable = np.median([each for each, _ in seen])
    mean = np.mean([gain.value for _, gain in seen])
    shown = np.mean([gain.is_shown for _, gain in seen])
    assert 0.5 < mean / detectable < 2.0
    assert (shown > 0.8) == (mean > detectable)


def test_nothing_is_detectable_by_one_seed() -> None:
    assert measure_detectable([concordance(_val(1.0, 0))], _val(1, 0), candidates=1) is None


def test_seeds_that_disagree_widen_the_interval() -> None:
    steady, theirs = (
        [concordance(_val(0.8, seed)) for seed in range(3)],
        [concordance(_val(1, 9 + i)) for i in range(3)],
    )
    wild = [concordance(_val(noise, seed)) for seed, noise in enumerate((0.4, 0.8, 2.0))]
    widths = [gain.high - gain.low for gain in (measure_gain(7, ours, theirs, _val(1, 0)) for ours in (steady, wild))]
    assert widths[1] > 2 * widths[0]


def test_one_seed_says_that_seed_noise_was_not_checked() -> None:
    gain = _gain(0.5, 1.5, seeds=1)
    assert choose([gain]) == 7
    assert tell_study_verdict([gain], 7, seeds=1) != tell_study_verdict([gain], 7, seeds=3).replace(
        "3 seeds", "1 seed"
    )


def test_a_default_that_diverges_gives_way() -> None:
    ours = [concordance(_val(1.0, 0))]
    gain = measure_gain(7, ours, [], _val(1, 0))
    assert choose([gain], default_diverged=True) == 7
    assert tell_study_verdict([gain], 7, seeds=1, default_diverged=True) != tell_study_verdict([gain], 7, seeds=1)


def test_without_candidates_the_default_stays() -> None:
    assert choose([]) == 0
    assert "Trial" not in tell_study_verdict([], 0, seeds=3)
