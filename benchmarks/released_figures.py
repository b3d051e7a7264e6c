"""The figures of the released model, made from its out-of-fold scores alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from released_context import evaluate_slides, mark_complete
from released_training import KEPT_OUT, PLACE

from bcd.bundle.released.figures import SlideInContext, Yardstick
from bcd.errors import BcdError
from bcd.evaluation.calls import is_confident
from bcd.evaluation.evaluation import Evaluation, evaluate_scores
from bcd.evaluation.metrics.estimates import Difference, Estimate
from bcd.evaluation.metrics.intervals import Array, interval, metric_of_sample
from bcd.evaluation.metrics.metrics import Resampled, make_estimate, ratio
from bcd.evaluation.metrics.prevalence import at_prevalence
from bcd.evaluation.metrics.ranking import divide
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.metrics.tallies import tally_by_patient
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import sigmoid
from bcd.evaluation.policy.policy import Policy, fit_policy
from bcd.evaluation.report.published import FOUNDING_PREVALENCE
from bcd.patches import patient_keys
from bcd.snapshots.splits import published_list

OURS = "released recipe"
SPLIT = "out-of-fold"
OPTIONS = EvaluateOptions()
_TARGETS = OPTIONS.target_errors
_CONFIDENT = "confident, of all patches"
_SAME = 1e-6  # relative: another processor rounds otherwise


@dataclass(frozen=True)
class Computed:
    """What follows from the out-of-fold scores.

    Attributes:
        scores: With the mean logit, whether the slide is complete, and the probability by a calibrator that never saw
            the patient's fold.
        policy: The one that is released: fitted on the natural sample of all patients.
        natural: The natural sample, cross-fitted.
        everything: Every patch, cross-fitted.
        yardsticks: Further figures, cross-fitted.
        context: Complete slides, scored with their neighbours by a stage fitted on the others.
    """

    scores: pd.DataFrame
    policy: Policy
    natural: Evaluation
    everything: Evaluation
    yardsticks: list[Yardstick]
    context: list[SlideInContext]

    def plain(self) -> dict[str, Any]:
        """Returns policy, metrics and figures as plain JSON values."""
        return {
            "policy": self.policy.model_dump(mode="json"),
            "metrics": self.natural.figures(),
            "natural": self.natural.model_dump(mode="json"),
            "everything": self.everything.model_dump(mode="json"),
            "yardsticks": [each.model_dump(mode="json") for each in self.yardsticks],
            "context": [each.model_dump(mode="json") for each in self.context],
        }


def compute(scores: pd.DataFrame, snapshot: str) -> Computed:
    """Computes the policy and every figure of out-of-fold scores.

    Args:
        scores: hospital, patient, slide, x, y, label, fold, natural, and a column `logit_…` for each member.
        snapshot: Id of the snapshot that they are of.
    """
    scores = scores.assign(logit=scores.filter(regex=r"^logit_\d+$").mean(axis=1))
    policies = fit_by_fold(scores)
    scores = mark_complete(cross_fit(scores, policies))
    natural = scores[scores["natural"]].reset_index(drop=True)

    def evaluate(sample: pd.DataFrame) -> Evaluation:
        return evaluate_scores(sample, OPTIONS, snapshot=snapshot, split=SPLIT)

    return Computed(
        scores=scores,
        policy=fit_policy(natural["logit"], natural["label"], patient_keys(natural), OPTIONS).with_context(
            scores, OPTIONS
        ),
        natural=evaluate(natural),
        everything=evaluate(scores),
        yardsticks=[
            *cross_fitted_thresholds(natural, policies),
            evaluate_kept_out(natural),
            *founding_table(natural),
            *(list_yardstick(scores, name) for name in ("train", "val", "unlisted")),
        ],
        context=evaluate_slides(scores, policies),
    )


def fit_by_fold(scores: pd.DataFrame) -> dict[int, Policy]:
    """Fits the policy for each fold on the natural sample of the other folds' patients."""
    natural = scores[scores["natural"]]
    policies = {}
    for fold in sorted(scores["fold"].unique()):
        others = natural[natural["fold"] != fold]
        policies[int(fold)] = fit_policy(others["logit"], others["label"], patient_keys(others), OPTIONS)
    return policies


def cross_fit(scores: pd.DataFrame, policies: dict[int, Policy]) -> pd.DataFrame:
    """Adds the probability of each patch by the calibrator that never saw its patient's fold."""
    probability = np.empty(len(scores))
    for fold, policy in policies.items():
        mine = scores["fold"].to_numpy() == fold
        probability[mine] = policy.calibrator.apply(scores["logit"].to_numpy()[mine])
    return scores.assign(probability=probability)


def cross_fitted_thresholds(natural: pd.DataFrame, policies: dict[int, Policy]) -> list[Yardstick]:
    """Evaluates each fold with the thresholds that were certified on the other folds' patients, by target error."""
    resampled = Resampled.of(make_evaluation_sample(natural), OPTIONS)
    return [_at_target(resampled, natural["fold"].to_numpy(), policies, place) for place in range(len(_TARGETS))]


def _at_target(resampled: Resampled, fold: Array, policies: dict[int, Policy], place: int) -> Yardstick:
    sample, everything, weights = resampled.sample, resampled.tallies, resampled.weights
    thresholds = {held_out: policy.certified[place].threshold for held_out, policy in policies.items()}
    confident = np.zeros(len(fold), bool)
    for held_out, threshold in thresholds.items():
        if threshold is not None:
            confident |= (fold == held_out) & is_confident(sample.probability, threshold)
    kept = tally_by_patient(sample, confident)
    counted = (kept.n > 0).astype(np.float64)
    error = ratio((kept.fp + kept.fn) / np.maximum(kept.n, 1), counted)
    certified = sum(threshold is not None for threshold in thresholds.values())
    figures = {
        _CONFIDENT: make_estimate(ratio(kept.n, everything.n), weights, everything.n, OPTIONS),
        "error among them, mean over patients": make_estimate(error, weights, kept.n, OPTIONS, leverage=counted),
    }
    return Yardstick(
        title=f"Natural sample, thresholds of the other folds' patients for a target error of {_TARGETS[place]:.0%},"
        f" certified in {certified} of {len(thresholds)} folds",
        patients=len(sample.patients),
        patches=len(fold),
        figures=figures if certified else {},
    )


def evaluate_kept_out(natural: pd.DataFrame) -> Yardstick:
    """Evaluates the patients of the fold on which no recipe was chosen."""
    mine = natural[natural["fold"] == KEPT_OUT]
    return _describe_auroc(f"Natural sample, fold {KEPT_OUT + 1}, on which no recipe was chosen", mine)


def founding_table(natural: pd.DataFrame) -> list[Yardstick]:
    """Lays out the rows of the founding work's table for the natural sample, weighted to its 50:50."""
    options = OPTIONS.model_copy(update={"levels": [0.5, *OPTIONS.levels]})
    resampled = Resampled.of(make_evaluation_sample(natural), options)
    return [
        Yardstick(
            title=f"Natural sample, weighted to the founding work's 50:50, confidence of {100 * row.level:g} %",
            patients=len(resampled.sample.patients),
            patches=len(natural),
            figures={_CONFIDENT: row.coverage, "accuracy among them": row.accuracy},
        )
        for row in at_prevalence(resampled, FOUNDING_PREVALENCE).thresholds
    ]


def list_yardstick(scores: pd.DataFrame, name: str) -> Yardstick:
    """Evaluates the patients of a published list, or those that are in none, on every patch."""
    mine = scores[of_list(scores, name)]
    title = "Patients in no published list" if name == "unlisted" else f"Patients of the published {name} list"
    return _describe_auroc(title, mine)


def _describe_auroc(title: str, patches: pd.DataFrame) -> Yardstick:
    mine = patches.reset_index(drop=True)
    if mine["label"].nunique() < 2:
        return Yardstick(title=title, patients=int(mine["patient"].nunique()), patches=len(mine), figures={})
    resampled = Resampled.of(make_evaluation_sample(mine), OPTIONS)
    figures = {
        "AUROC, pooled": resampled.pooled()["auroc"],
        "AUROC, patient-macro": resampled.patient_macro()["auroc"],
    }
    return Yardstick(title=title, patients=len(resampled.sample.patients), patches=len(mine), figures=figures)


def of_list(scores: pd.DataFrame, name: str) -> pd.Series[bool]:
    """Tells which patches are of patients of a published list; `unlisted`: of none."""
    if name != "unlisted":
        return scores["patient"].isin(list(published_list(name)))
    return ~scores["patient"].isin(set().union(*(published_list(each) for each in ("train", "val", "test"))))


def match(scores: pd.DataFrame, file: Path) -> tuple[pd.DataFrame, int]:
    """Puts other networks' predictions beside the out-of-fold scores of the same patches.

    Args:
        scores: The out-of-fold scores.
        file: CSV of patient, x, y, label and a column of probabilities for each network.

    Returns:
        The patches that both have, with the probability of ours uncalibrated; and how many only the file has.

    Raises:
        BcdError: They have no patch in common.
    """
    theirs = pd.read_csv(file, dtype={"patient": str})
    ours = scores.assign(probability=sigmoid(scores.filter(regex=r"^logit_\d+$").mean(axis=1)))
    both = theirs.merge(ours.drop(columns="label"), on=PLACE, validate="one_to_one")
    if both.empty:
        raise BcdError(
            f"{file} names no patch that has an out-of-fold score.", "Give predictions of trained patients."
        )
    return both, len(theirs) - len(both)


def compare(both: pd.DataFrame, networks: list[str]) -> Iterator[tuple[str, Estimate, Estimate, Difference]]:
    """Compares other networks with the out-of-fold scores.

    Args:
        both: What `match` returned.
        networks: The columns of the others' probabilities.

    Yields:
        A network's name, its pooled and its patient-macro AUROC, and by how much the latter of ours is higher:
        paired, on the patients with both classes.
    """
    mine = Resampled.of(make_evaluation_sample(both), OPTIONS)
    for name in ("probability", *networks):
        other = Resampled.of(make_evaluation_sample(both.assign(probability=both[name])), OPTIONS)
        gain = _paired_gain(mine.by_patient("auroc"), other.by_patient("auroc"), mine)
        title = OURS if name == "probability" else name
        yield title, other.pooled()["auroc"], other.patient_macro()["auroc"], gain


def _paired_gain(ours: Array, theirs: Array, sample: Resampled) -> Difference:
    has_both = ~np.isnan(ours)
    counted = has_both.astype(np.float64)
    gain = np.where(has_both, ours - theirs, 0.0)

    def mean(weights: Array) -> Array:
        return divide(weights @ gain, weights @ counted)

    low, high, dropped = interval(mean, sample.weights, counted, OPTIONS, signed=True)
    return Difference(
        value=metric_of_sample(mean, len(gain)),
        low=low,
        high=high,
        n_patches=int(sample.tallies.n[has_both].sum()),
        n_patients=int(has_both.sum()),
        dropped=dropped,
    )


def differences(found: Any, stored: Any, place: str = "") -> Iterator[str]:
    """Names every value of two trees of JSON that differs by more than rounding."""
    if isinstance(found, dict) and isinstance(stored, dict):
        for key in sorted(found.keys() | stored.keys()):
            yield from differences(found.get(key), stored.get(key), f"{place}/{key}")
    elif isinstance(found, list) and isinstance(stored, list) and len(found) == len(stored):
        for number, (one, other) in enumerate(zip(found, stored, strict=True)):
            yield from differences(one, other, f"{place}/{number}")
    elif isinstance(found, float) and isinstance(stored, float | int):
        if abs(found - stored) > _SAME * max(1.0, abs(stored)):
            yield f"{place}: {found!r}, stored {stored!r}"
    elif json.dumps(found) != json.dumps(stored):
        yield f"{place}: {found!r}, stored {stored!r}"
