"""Years of the gate: a challenger every week, in many made-up hospitals at once, decided by the gate's own checks.

What the gate sees of a version is the difference in AUROC from another one on the gate patients, which is taken here
as a mean over patients, each counting by its patches. Patients have the sizes of the real set's, and on each of them
a version does better or worse than it truly is, with the variance a + b / patches of bcd's own intervals
(`expected_variance`), fitted to made-up scores of patches. A version is like that of the week before (`memory`).

Standard error, interval, checks, rule and budget are those of production. Recall, specificity and the safeguards,
which can only hold a challenger back, are left out here, and are in `gate_simulation`.

Example:
    seen = live(Years(drift=-0.02), hospitals=200, options=GateOptions())
    seen.is_worse(0.02).mean()
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from made_scores import PATIENT_SIZES
from numpy.typing import NDArray

from bcd.evaluation.metrics.estimates import Difference
from bcd.evaluation.metrics.intervals import standard_error, student_interval
from bcd.evaluation.metrics.metrics import ratio
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.budget import open_budget
from bcd.gate.checks import check_anchor_auroc, check_gate_differences
from bcd.gate.rule import decide_by_checks

if TYPE_CHECKING:
    from bcd.gate.options import GateOptions

Array = NDArray[np.float64]

VARIANCE = (0.00042, 0.0105)
"""a and b of one version's AUROC on a patient: what it does there more or less than it truly does."""

_NO_RATE = Difference(value=0.0, low=0.0, high=0.0, n_patches=0, n_patients=0)


@dataclass(frozen=True)
class Years:
    """What becomes of a hospital.

    Attributes:
        drift: By how much the true AUROC of each challenger differs from the `reference`'s.
        reference: Whose truth that is relative to: the champion of that week, or the first champion.
        patients: Gate patients at the beginning.
        arrivals: New gate patients a week.
        weeks: Weeks, with a challenger each.
        memory: Correlation of what a version does on a patient with what that of the week before does.
        then: Drift of the last `last` challengers.
        last: How many that are.
    """

    drift: float = 0.0
    reference: Literal["champion", "first"] = "champion"
    patients: int = 40
    arrivals: float = 0.0
    weeks: int = 260
    memory: float = 0.5
    then: float = 0.0
    last: int = 0

    def count_patients(self, week: int) -> int:
        """Returns the gate patients of a week."""
        return self.patients + int(self.arrivals * week)


@dataclass
class Lived:
    """What became of the hospitals.

    Attributes:
        champion: True AUROC of the champion minus the first one's, after each week, shape (weeks, hospitals).
        anchor: The same of the anchor.
        promoted: Whether the challenger of the week was promoted.
    """

    champion: Array
    anchor: Array
    promoted: NDArray[np.bool_]

    def is_worse(self, margin: float) -> NDArray[np.bool_]:
        """Whether the champion was ever worse by the margin than the first one or the best anchor, (hospitals,)."""
        best = np.maximum.accumulate(np.maximum(self.anchor, 0.0), axis=0)
        return np.asarray((self.champion <= best - margin + 1e-9).any(axis=0))


def live(years: Years, *, hospitals: int, options: GateOptions, seed: int = 1, anchored: bool = True) -> Lived:
    """Lets hospitals live through years of challengers.

    Args:
        years: What is true of the challengers, and when patients come.
        hospitals: How many hospitals are drawn.
        options: Rule, margins and budget.
        seed: Another seed draws other hospitals.
        anchored: Whether the gate compares with the anchor too; else with the champion alone.
    """
    rng = np.random.default_rng(seed)
    levels = list_levels(years, options)
    most = years.count_patients(years.weeks - 1)
    sizes = rng.choice(np.array(PATIENT_SIZES, dtype=np.float64), (hospitals, most))
    spread = np.sqrt(VARIANCE[0] + VARIANCE[1] / sizes)

    def draw() -> Array:
        return rng.normal(size=(hospitals, most)) * spread

    effect = draw()
    champion, anchor = effect.copy(), effect.copy()
    champion_truth, anchor_truth = np.zeros(hospitals), np.zeros(hospitals)
    shape = (years.weeks, hospitals)
    lived = Lived(np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=np.bool_))
    for week in range(years.weeks):
        n = years.count_patients(week)
        effect = years.memory * effect + np.sqrt(1 - years.memory**2) * draw()
        drift = years.then if week >= years.weeks - years.last else years.drift
        truth = drift + champion_truth * (years.reference == "champion")
        weights = sizes[:, :n] / sizes[:, :n].sum(axis=1, keepdims=True)
        ahead = truth - champion_truth + (weights * (effect - champion)[:, :n]).sum(axis=1)
        for one in np.flatnonzero(ahead >= 0):  # below, the gate holds or rejects, whatever else it finds
            mine = slice(0, n)
            against = [
                truth[one] - reference[one] + effect[one, mine] - other[one, mine]
                for reference, other in ((champion_truth, champion), (anchor_truth, anchor))
            ]
            met, beats = _meet(sizes[one, mine], against, levels[week] if anchored else None, options)
            if met:
                lived.promoted[week, one] = True
                if beats:
                    anchor[one], anchor_truth[one] = effect[one], truth[one]
                champion[one], champion_truth[one] = effect[one], truth[one]
        lived.champion[week], lived.anchor[week] = champion_truth, anchor_truth
    return lived


def list_levels(years: Years, options: GateOptions) -> list[float]:
    """Returns what the look of each week spends; it follows from the patients alone."""
    looks: list[tuple[int, float]] = []
    for week in range(years.weeks):
        patients = years.count_patients(week)
        looks.append((patients, open_budget(looks, patients, options).level))
    return [level for _, level in looks]


def _meet(patches: Array, against: list[Array], level: float | None, options: GateOptions) -> tuple[bool, bool]:
    """Returns whether the gate promotes by these differences from champion and anchor, and moves the anchor."""
    auroc = _differ(patches, against[0], options.confidence)
    rates = dict.fromkeys(("recall", "specificity", "accuracy", "brier"), _NO_RATE)
    checks = check_gate_differences({"auroc": auroc, **rates}, options)
    low = None
    if level is not None:
        other = _differ(patches, against[1], 1 - 2 * level)
        low = other.low
        checks.append(check_anchor_auroc(other, options, anchor="the anchor", level=level))
    promoted = decide_by_checks(checks, options)[0] == "PROMOTE"
    return promoted, promoted and low is not None and low > 0


def _differ(patches: Array, values: Array, confidence: float) -> Difference:
    mean = ratio(patches * values, patches)
    error = standard_error(mean, patches)
    value = float(patches @ values / patches.sum())
    low, high = student_interval(value, error, len(patches), _sure(confidence))
    return Difference(value=value, low=low, high=high, n_patches=int(patches.sum()), n_patients=len(patches))


@cache
def _sure(confidence: float) -> EvaluateOptions:
    return EvaluateOptions(confidence=confidence)
