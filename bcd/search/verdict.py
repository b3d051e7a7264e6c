"""Whether a candidate is better than the default by more than chance: the one rule by which a study chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bcd.evaluation.metrics.sample import Sample

Array = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of all the intervals of a study together."""

POWER = 0.8
"""How often a gain as large as the detectable one is seen."""

_RESAMPLES = 2000


@dataclass(frozen=True)
class Gain:
    """What a candidate gains over the default.

    Attributes:
        trial: The candidate's number.
        value: Mean val score of its refits less that of the default's.
        low: Lower end of the interval; None where there is no honest one.
        high: Upper end.
        scores: Val scores of its refits, one a seed.
        default: Those of the default's; none where one of them diverged.
        patients: Val patients.
    """

    trial: int
    value: float
    low: float | None
    high: float | None
    scores: list[float]
    default: list[float]
    patients: int

    @property
    def is_shown(self) -> bool:
        """Whether the gain exceeds what seeds and patients explain: the whole interval lies above 0."""
        return self.low is not None and self.low > 0


def measure_gain(
    trial: int, pairs: Sequence[Array], default: Sequence[Array], val: Sample, *, candidates: int = 1
) -> Gain:
    """Measures what a candidate gains over the default, with an interval for both seed and patient noise.

    Both are evaluated on the same val patients, so patients are resampled together (the paired patient bootstrap) for
    the variance that comes with them. The variance that comes with seeds is that of the mean of the refits. The
    interval is Student's with Welch and Satterthwaite's degrees of freedom: resampling three seeds like patients
    would take a candidate that is no better for better up to one time in 11 instead of one in 40. Its confidence is
    shared out between the candidates (Bonferroni). Sources of variance after Bouthillier 2021, "Accounting for
    variance in machine learning benchmarks". One seed alone leaves seed noise out.

    Args:
        trial: The candidate's number.
        pairs: For each refit of the candidate, what `ranking.concordance` counted on the val patches.
        default: The same of the default's refits; none where one of them diverged, and then nothing is compared.
        val: The val patches; their logits do not matter here.
        candidates: How many are compared with the default.
    """
    weights = _weigh_patients(val)
    ours = np.stack([_score_refits(each, val, weights) for each in pairs])
    if not default:
        return Gain(trial, float("nan"), None, None, ours[:, 0].tolist(), [], len(val.patients))
    theirs = np.stack([_score_refits(each, val, weights) for each in default])
    scores, others = ours[:, 0], theirs[:, 0]
    value = float(scores.mean() - others.mean())
    resampled = ours[:, 1:].mean(axis=0) - theirs[:, 1:].mean(axis=0)
    parts = [(float(each.var(ddof=1)) / len(each), len(each) - 1) for each in (scores, others) if len(each) > 1]
    defined = resampled[~np.isnan(resampled)]
    low = high = None
    if len(val.patients) > 1 and len(defined) >= 0.95 * _RESAMPLES:
        parts.append((float(defined.var()), len(val.patients) - 1))
        low, high = _make_gain_interval(value, parts, (1 - CONFIDENCE) / candidates)
    return Gain(trial, value, low, high, scores.tolist(), others.tolist(), len(val.patients))


def measure_detectable(pairs: Sequence[Array], val: Sample, *, candidates: int) -> float | None:
    """Measures the gain that a study would see four times in five, from refits of the default alone.

    A candidate is taken to vary with seeds as the default does, and to differ from it by patient as one refit of the
    default differs from another. Other architectures differ more, so that this is the least that can be said.

    Args:
        pairs: For each refit of the default, what `ranking.concordance` counted on the val patches.
        val: The val patches.
        candidates: How many will be compared with the default.

    Returns:
        The smallest such gain in val score; None of fewer than two refits, or where nothing varies.
    """
    if len(pairs) < 2:
        return None
    weights = _weigh_patients(val)
    scores = np.stack([_score_refits(each, val, weights) for each in pairs])
    between = [np.nanvar(ours - theirs) / 2 for ours, theirs in combinations(scores[:, 1:], 2)]
    seeds = float(scores[:, 0].var(ddof=1)) / len(pairs)
    parts = [(seeds, len(pairs) - 1)] * 2 + [(2 * float(np.mean(between)) / len(pairs), len(val.patients) - 1)]
    _, high = _make_gain_interval(0.0, parts, (1 - CONFIDENCE) / candidates)
    if high is None or not np.isfinite(high):
        return None
    from scipy.stats import norm

    return high + float(norm.ppf(POWER) * np.sqrt(sum(variance for variance, _ in parts)))


def _make_gain_interval(
    value: float, parts: list[tuple[float, int]], error: float
) -> tuple[float | None, float | None]:
    """Makes an interval of a value whose variance is the sum of parts, each with its degrees of freedom."""
    from scipy.stats import t

    total = sum(variance for variance, _ in parts)
    if total == 0:  # nothing varies: the same network twice, or a handful of patches
        return None, None
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    half = float(t.ppf(1 - error / 2, freedom)) * total**0.5
    return value - half, value + half


def _weigh_patients(val: Sample) -> Array:
    """Returns weights of patients by which each weighs the same: of the sample itself, then of the resamples."""
    from bcd.evaluation.metrics.intervals import draw_resamples
    from bcd.evaluation.options import EvaluateOptions

    drawn = draw_resamples(len(val.patients), EvaluateOptions(resamples=_RESAMPLES))
    return np.vstack([np.ones(len(val.patients)), drawn]) / val.sizes


def _score_refits(pairs: Array, val: Sample, weights: Array) -> Array:
    """Returns the patient-wise val score (`training.history.score_val_by_patients`) under each row of weights."""
    from bcd.evaluation.metrics.ranking import auroc, count_labels

    return auroc(pairs, *count_labels(val), weights)


def choose(gains: Sequence[Gain], *, default_diverged: bool = False) -> int:
    """Returns the number of the trial that is chosen: the largest gain of those that are shown, else the default.

    A default that diverges in a refit is no choice: then it is the candidate with the highest scores.
    """
    able = list(gains) if default_diverged else [gain for gain in gains if gain.is_shown]
    return max(able, key=lambda gain: float(np.mean(gain.scores))).trial if able else 0


def tell_study_verdict(
    gains: Sequence[Gain], best: int, *, seeds: int, default_diverged: bool = False, detectable: float | None = None
) -> str:
    """Returns what a study shows and what it does not, in a few sentences."""
    from bcd.formats import format_difference

    if not gains:
        return "The default stays: no other trial was refitted."
    if default_diverged:
        return f"The default diverged; trial {best} takes its place."
    leader = next((gain for gain in gains if gain.trial == best), max(gains, key=lambda gain: gain.value))
    noise = f"{seeds} seeds and {leader.patients} val patients" if seeds > 1 else f"{leader.patients} val patients"
    found = f"{format_difference(leader)} in val score"
    told = f"Trial {leader.trial} gains {found} over the default ({noise})"
    if best:
        verdict = f"{told} and takes its place."
    elif leader.value > 0:
        verdict = f"The default stays. {told}, which chance can explain."
    else:
        verdict = f"The default stays. Trial {leader.trial} is no better: {found} ({noise})."
    if seeds == 1:
        return f"{verdict} With one seed, seed noise was not checked."
    return verdict if detectable is None else f"{verdict} {tell_detectable(detectable)}"


def tell_detectable(gain: float) -> str:
    """Says what gain a study can see."""
    return f"A gain under {gain:.3f} is seen less than four times in five with these patients and seeds."
