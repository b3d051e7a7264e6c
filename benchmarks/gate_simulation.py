"""How often the gate promotes challengers whose truth is known: made-up hospitals, decided by the rule as it stands.

Patients have the sizes of the real set's and effects of their own (`made_scores`). A challenger's true
AUROC, recall and specificity are set, so that every promotion is known to be right or wrong.

Example:
    rate = promotion_rate(CHALLENGERS["AUROC worse by the margin"], 29, runs=100)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from made_scores import (
    ScoreModel,
    compute_true_metric,
    draw_patch_series,
    make_synthetic_population,
    separate_to_auroc,
)
from numpy.typing import NDArray

from bcd.evaluation.metrics.intervals import metric_of_sample, standard_error, student_interval
from bcd.evaluation.metrics.ranking import auroc, concordance
from bcd.evaluation.metrics.sample import Sample
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.budget import open_budget
from bcd.gate.options import GateOptions
from bcd.gate.rule import Anchor, decide

if TYPE_CHECKING:
    from made_scores import ScoredPatches

CHAMPION = ScoreModel()
CORRELATION = 0.8
"""Of two models' noise; that of the published networks. Two retrainings of one recipe had .88 to .93."""

OPTIONS = GateOptions()
EVALUATE = EvaluateOptions(resamples=500)


@dataclass(frozen=True)
class Challenger:
    """A challenger by what is true of it.

    Attributes:
        auroc: By how much its true AUROC differs from the champion's.
        rate: `recall` or `specificity`, if its threshold is off; empty: it is not.
        loss: By how much that rate is lower than the champion's.
    """

    auroc: float
    rate: str = ""
    loss: float = 0.0


CHALLENGERS = {
    "AUROC worse by the margin": Challenger(-OPTIONS.margin),
    "AUROC better by .01, recall worse by its margin": Challenger(0.01, "recall", OPTIONS.rate_margin),
    "AUROC better by .01, specificity worse by its margin": Challenger(0.01, "specificity", OPTIONS.rate_margin),
    "AUROC worse by half the margin": Challenger(-OPTIONS.margin / 2),
    "equal": Challenger(0.0),
    "AUROC better by .005": Challenger(0.005),
    "AUROC better by .01": Challenger(0.01),
    "AUROC better by .02": Challenger(0.02),
}
"""The first three are worse by a margin: each of them may be promoted in at most 5 % of runs."""


def simulate(
    challenger: Challenger,
    n_patients: int,
    *,
    runs: int,
    looks: int = 1,
    spent: int = 0,
    first_only: bool = False,
    seed: int = 1,
    options: GateOptions = OPTIONS,
) -> NDArray[np.bool_]:
    """Evaluates challengers of known truth against a champion who is the anchor too.

    Args:
        challenger: What is true of every challenger.
        n_patients: Gate patients.
        runs: Hospitals that are drawn.
        looks: Challengers of one hospital, one after the other, evaluated on the same gate patients.
        spent: Looks at them that were paid for before.
        first_only: Whether a hospital's later challengers are left alone once one was promoted.
        seed: Another seed draws other hospitals.
        options: The rule and its margins.

    Returns:
        Whether each was promoted, shape (runs, looks).
    """
    promoted = np.zeros((runs, looks), dtype=np.bool_)
    levels = list_levels(n_patients, spent + looks, options)[spent:]
    for run in range(runs):
        champion, *others = draw_scores(challenger, n_patients, looks, np.random.default_rng([seed, run]))
        for look, (other, level) in enumerate(zip(others, levels, strict=True)):
            if may_pass(champion, other, level, options):
                promoted[run, look] = is_promoted(champion, other, level, options)
            if first_only and promoted[run, look]:
                break
    return promoted


def is_promoted(champion: ScoredPatches, challenger: ScoredPatches, level: float, options: GateOptions) -> bool:
    """Asks the gate of production, with the champion as the anchor and a look that spends `level`."""
    scores = champion.frame()
    anchor = Anchor("champion", scores, level)
    return decide(challenger.frame(), scores, options, EVALUATE, anchor=anchor).verdict == "PROMOTE"


def may_pass(champion: ScoredPatches, challenger: ScoredPatches, level: float, options: GateOptions) -> bool:
    """Whether the AUROC alone lets the gate promote; asked first, for it takes a tenth of the time."""
    value, error, n_patients = _differ(champion, challenger)
    if not value >= 0:
        return False
    sure = EVALUATE.model_copy(update={"confidence": 1 - 2 * level})
    return student_interval(value, error, n_patients, sure)[0] > -options.margin


def find_risk(champion: ScoredPatches, challenger: ScoredPatches, truth: Challenger) -> float:
    """Returns the level at which the bound on challenger minus champion would be the very truth."""
    from scipy.special import stdtr

    value, error, n_patients = _differ(champion, challenger)
    return float(stdtr(n_patients - 1, (truth.auroc - value) / error))


def _differ(champion: ScoredPatches, challenger: ScoredPatches) -> tuple[float, float, int]:
    """Returns the difference in AUROC, its standard error, and the patients that it rests on."""
    n_patients = int(champion.patient.max()) + 1
    positive, negative = (
        np.bincount(champion.patient[champion.label == label], minlength=n_patients).astype(np.float64)
        for label in (1, 0)
    )
    pairs = concordance(_sample(challenger, n_patients)) - concordance(_sample(champion, n_patients))

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return auroc(pairs, positive, negative, weights)

    leverage = (positive / positive.sum() + negative / negative.sum()) / 2 * len(champion.patient)
    rarer = int(min(np.count_nonzero(positive), np.count_nonzero(negative)))
    return metric_of_sample(difference, n_patients), standard_error(difference, leverage), rarer


def _sample(patches: ScoredPatches, n_patients: int) -> Sample:
    patients = [("hospital-1", str(number)) for number in range(n_patients)]
    return Sample(patches.label == 1, patches.probability, patches.patient, patients)


def list_levels(n_patients: int, looks: int, options: GateOptions = OPTIONS) -> list[float]:
    """Returns what each of several looks at the same gate patients spends."""
    paid: list[tuple[int, float]] = []
    for _ in range(looks):
        paid.append((n_patients, open_budget(paid, n_patients, options).level))
    return [level for _, level in paid]


def promotion_rate(challenger: Challenger, n_patients: int, *, runs: int) -> float:
    """Returns the share of hospitals in which a challenger is promoted at its first look."""
    return float(simulate(challenger, n_patients, runs=runs).mean())


def draw_scores(challenger: Challenger, n_patients: int, looks: int, rng: np.random.Generator) -> list[ScoredPatches]:
    """Draws what the champion says of gate patients, and after it what each of several challengers does."""
    model, shift = _realise(challenger)
    first, *others = draw_patch_series([CHAMPION, *[model] * looks], n_patients, rng, correlation=CORRELATION)
    return [first, *(_shift(other, shift) for other in others)]


def _shift(patches: ScoredPatches, shift: float) -> ScoredPatches:
    """Moves the threshold, as a calibrator that was fitted on unlucky patients does."""
    logit = np.log(patches.probability) - np.log1p(-patches.probability) + shift
    return replace(patches, probability=1 / (1 + np.exp(-logit)))


@cache
def _realise(challenger: Challenger) -> tuple[ScoreModel, float]:
    """Returns the model of that AUROC, and how far its calibrated logits are moved to lose as much as is wanted."""
    from scipy.optimize import brentq

    model = separate_to_auroc(CHAMPION, compute_true_metric(CHAMPION, "auroc") + challenger.auroc)
    if not challenger.rate:
        return model, 0.0
    wanted = compute_true_metric(CHAMPION, challenger.rate) - challenger.loss
    return model, float(brentq(lambda shift: _rate(model, challenger.rate, shift) - wanted, -8, 8))


def _rate(model: ScoreModel, rate: str, shift: float) -> float:
    """Returns the true recall or specificity of a model whose calibrated logits are moved."""
    logit, idc, none = make_synthetic_population(model)
    called = model.slope * logit + model.intercept + shift >= 0
    mass = idc if rate == "recall" else none
    kept = called if rate == "recall" else ~called
    return float(mass[kept].sum() / mass.sum())
