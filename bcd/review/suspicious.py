"""Suspicious labels: what a model that never saw the patient says, against the label that stands.

On complete slides the probability in context counts, which knows a patch's neighbours too; elsewhere the patch's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bcd.evaluation.policy.context import CONTEXT

if TYPE_CHECKING:
    import pandas as pd

AGAINST = 0.5
"""A label is suspicious from this on: the model says the other class."""


def rank_labels(scores: pd.DataFrame) -> pd.DataFrame:
    """Ranks labelled patches, the most suspicious first.

    Args:
        scores: label (0 or 1), probability by a model that never saw the patient, and context_probability, NaN off
            complete slides.

    Returns:
        The scores with `value`, the probability of the other class, descending; equals stay in their order.
    """
    own, context = (scores[name].to_numpy(np.float64) for name in ("probability", CONTEXT))
    probability = np.where(np.isnan(context), own, context)
    value = np.abs(scores["label"].to_numpy(np.float64) - probability)
    return scores.assign(value=value).iloc[np.argsort(-value, kind="stable")]
