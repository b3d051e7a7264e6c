"""Context: a second stage that corrects the probability of a patch by those of its neighbours, on complete slides.

With at least one neighbour

    logit' = own * logit + neighbours * mean(logit of the up to eight neighbours) + intercept,    neighbours >= 0,

and with none logit' = logit, where both logits are calibrated ones: sigmoid(logit') is a probability. It takes the
mean and never a sum, a count or a share: how many neighbours a patch has says how the sample was drawn. A slide of
which patches were left out has no context: only one that bcd cut itself, or that the hospital declares complete.

The stage is fitted by maximum likelihood, every patient counting the same. Neighbours are dropped at random
meanwhile: else it would trust the mean of two at the edge of the tissue as it does the mean of eight.

Examples:
    >>> Context(own=0.5, neighbours=1.0, intercept=-0.5, n_patients=12).standing
    'certified on 12 complete patients'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bcd.errors import InsufficientEvidenceError
from bcd.evaluation.folds import deal_evaluation_folds
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import Calibrator, fit_calibrator, maximise_likelihood, platt_targets, sigmoid
from bcd.evaluation.policy.certified import CertifiedThreshold, certify_targets
from bcd.evaluation.policy.neighbours import find_neighbours, mean_neighbour
from bcd.patches import patient_keys

if TYPE_CHECKING:
    import pandas as pd

CONTEXT = "context_probability"
"""The column of scores that holds the probability in context, missing where there is none."""

MIN_PATIENTS = 3
"""Complete patients from which on a stage is fitted: each can be left out, and it is fitted on two others."""

CERTIFIED_FROM = 10
"""Complete patients from which on what the stage says may be certified."""

_DRAWS = 8  # of the neighbours that are dropped
_KEPT = 0.5  # the chance of a neighbour to be kept is drawn for each patch, from this to 1
_SEED = 0


class Context(BaseModel):
    """The second stage, fitted on val patients whose slides are complete.

    Attributes:
        own: What the calibrated logit of the patch is multiplied by.
        neighbours: What the mean of those of its neighbours is multiplied by.
        intercept: What is added.
        n_patients: Complete patients that it was fitted on.
        certified: The threshold of each target error; none with fewer than `CERTIFIED_FROM` patients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    own: float
    neighbours: float = Field(ge=0)
    intercept: float
    n_patients: int
    certified: tuple[CertifiedThreshold, ...] = ()

    @property
    def standing(self) -> str:
        """Whether its thresholds went through certification, in words."""
        if self.n_patients >= CERTIFIED_FROM:
            return f"certified on {self.n_patients} complete patients"
        return f"uncertified: {self.n_patients} complete patients, {CERTIFIED_FROM} are needed"

    def apply(self, logits: NDArray[np.float64], neighbours: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the probability of IDC in context.

        Args:
            logits: The calibrated logit of each patch, shape (n,).
            neighbours: Those of its neighbours, NaN where there is none, shape (n, 8).
        """
        mean = mean_neighbour(neighbours)
        corrected = self.own * logits + self.neighbours * mean + self.intercept
        return sigmoid(np.where(np.isnan(mean), logits, corrected))


def fit_stage(patches: pd.DataFrame, calibrator: Calibrator) -> Context:
    """Fits the stage, of which nothing is certified.

    Args:
        patches: Columns hospital, patient, slide, x, y, label (1 = IDC, 0 = none), logit; of complete slides only.
        calibrator: Calibrates the logits.

    Raises:
        InsufficientEvidenceError: There is one class only.
        BcdError: A logit is not finite.
    """
    logits = calibrator.scale(patches["logit"])
    target = platt_targets(logits, patches["label"])
    found = find_neighbours(patches, logits)
    patient = patient_keys(patches).factorize()[0]
    weight = 1 / np.bincount(patient)[patient]
    random = np.random.default_rng(_SEED)
    features, targets, weights = [], [], []
    for _ in range(_DRAWS):
        kept = random.random(found.shape) < random.uniform(_KEPT, 1, (len(found), 1))
        mean = mean_neighbour(np.where(kept, found, np.nan))
        has = ~np.isnan(mean)
        features.append(np.column_stack([logits, mean])[has])
        targets.append(target[has])
        weights.append(weight[has])
    x, t, w = np.concatenate(features), np.concatenate(targets), np.concatenate(weights)
    if not len(t):
        raise InsufficientEvidenceError(
            "The stage of neighbours cannot be fitted: no patch has a neighbour.", "Admit complete slides."
        )
    w *= len(w) / w.sum()
    coefficients, intercept = maximise_likelihood(x, t, w)
    own, neighbours = coefficients
    if neighbours < 0:  # the likelihood is concave: with the bound, its maximum lies on it
        (own,), intercept = maximise_likelihood(x[:, :1], t, w)
        neighbours = 0.0
    return Context(
        own=own, neighbours=neighbours, intercept=intercept, n_patients=int(patient_keys(patches).nunique())
    )


def fit_context(scores: pd.DataFrame, calibrator: Calibrator, options: EvaluateOptions) -> Context | None:
    """Fits the stage on val patients; None with fewer than three complete ones, or one class.

    Args:
        scores: All val patches: hospital, patient, slide, x, y, label, logit, and `complete`: whether their slide is.
        calibrator: Calibrates the logits.
        options: Target errors, and how thresholds are certified.
    """
    patches = scores[scores["complete"].to_numpy(bool)]
    if patient_keys(patches).nunique() < MIN_PATIENTS:
        return None
    try:
        stage = fit_stage(patches, calibrator)
    except InsufficientEvidenceError:
        return None
    if stage.n_patients < CERTIFIED_FROM:
        return stage
    crossed = cross_fit_context(scores, folds=options.folds)[scores["complete"].to_numpy(bool)]
    certified = certify_targets(crossed, patches["label"], patient_keys(patches), options)
    return stage.model_copy(update={"certified": certified})


def score_context(scores: pd.DataFrame, calibrator: Calibrator, stage: Context | None) -> NDArray[np.float64]:
    """Returns the probability of IDC in context of each patch, shape (n,).

    Args:
        scores: hospital, patient, slide, x, y, logit, and `complete`: whether the patch's slide is.
        calibrator: Calibrates the logits.
        stage: What was fitted; None: nothing was.

    Returns:
        NaN where the slide is not complete, and everywhere without a stage.
    """
    probability = np.full(len(scores), np.nan)
    complete = scores["complete"].to_numpy(bool)
    if stage is not None and complete.any():
        patches = scores[complete]
        logits = calibrator.scale(patches["logit"])
        probability[complete] = stage.apply(logits, find_neighbours(patches, logits))
    return probability


def cross_fit_context(scores: pd.DataFrame, *, folds: int) -> NDArray[np.float64]:
    """Scores each patch in context by a calibrator and a stage that never saw its patient.

    Args:
        scores: As `fit_context` takes them.
        folds: Folds that the patients are dealt to.

    Returns:
        NaN where the slide is not complete, or the patients of the other folds do not suffice.
    """
    fold = deal_evaluation_folds(patient_keys(scores), folds)
    probability = np.full(len(scores), np.nan)
    complete = scores["complete"].to_numpy(bool)
    for held_out in np.unique(fold[complete]):
        mine = fold == held_out
        others = scores[~mine]
        try:
            calibrator = fit_calibrator(others["logit"], others["label"])
            stage = fit_stage(others[complete[~mine]], calibrator)
        except InsufficientEvidenceError:
            continue
        probability[mine] = score_context(scores[mine], calibrator, stage)
    return probability
