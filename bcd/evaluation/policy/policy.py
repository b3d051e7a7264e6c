"""The policy: calibrator, levels, certified thresholds and context, fitted on val patients, frozen with the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import Calibrator, cross_fit_or_none, fit_calibrator
from bcd.evaluation.policy.certified import CertifiedThreshold, certify_targets
from bcd.evaluation.policy.context import Context, fit_context, score_context

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


class Policy(BaseModel):
    """How logits become decisions.

    Attributes:
        calibrator: Fitted on all val patients.
        levels: Confidence levels of the threshold table.
        certified: The threshold of each target error.
        context: What corrects a patch by its neighbours on complete slides; None where too few were to fit it on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibrator: Calibrator
    levels: tuple[float, ...]
    certified: tuple[CertifiedThreshold, ...] = ()
    context: Context | None = None

    def with_context(self, scores: pd.DataFrame, options: EvaluateOptions) -> Policy:
        """Returns the policy with the stage of neighbours, fitted on the val patches that `fit_context` takes."""
        return self.model_copy(update={"context": fit_context(scores, self.calibrator, options)})

    def score_context(self, scores: pd.DataFrame) -> NDArray[np.float64]:
        """Returns the probability in context of the patches that `score_context` takes, NaN where there is none."""
        return score_context(scores, self.calibrator, self.context)


def fit_policy(logits: ArrayLike, labels: ArrayLike, patients: ArrayLike, options: EvaluateOptions) -> Policy:
    """Fits the policy on val patches, patch by patch; `Policy.with_context` adds what neighbours say.

    Args:
        logits: One logit a patch, shape (n,).
        labels: 1 = IDC, 0 = none, shape (n,).
        patients: Whose each patch is, hospital included, shape (n,).
        options: Levels, target errors, and how thresholds are certified.

    Raises:
        BcdError: There is one class only, or a logit is not finite.
    """
    crossed = cross_fit_or_none(logits, labels, patients, folds=options.folds)
    return Policy(
        calibrator=fit_calibrator(logits, labels),
        levels=tuple(options.levels),
        certified=certify_targets(crossed, labels, patients, options),
    )
