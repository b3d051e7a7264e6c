"""Whether the list of suspicious labels finds planted ones: one label in twenty is turned round, also for training.

Each patch is scored by a head that never saw its patient, on features of a network that never saw the fold; the head
is fitted on the labels as they are with the planted ones. On complete slides the stage of neighbours is fitted on the
other complete slides, with the planted labels too. The list ranks all labelled patches.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from review_features import Fold, Head

from bcd.evaluation.folds import deal_evaluation_folds
from bcd.evaluation.policy.calibration import Calibrator
from bcd.evaluation.policy.context import CONTEXT, fit_stage, score_context
from bcd.patches import patient_keys
from bcd.review.suspicious import rank_labels

SEEDS = 5
PLANTED = 0.05
FIRST = 0.1
WANTED = 0.6
_HEADS = 5
_RESAMPLES = 1000
_SAME = Calibrator(slope=1.0, intercept=0.0)


def tell_suspicious(folds: list[Fold]) -> str:
    """Plants labels, ranks, and returns the table in Markdown."""
    found: dict[str, list[pd.DataFrame]] = {}
    for seed in range(SEEDS):
        scores = _score(folds, np.random.default_rng([7, seed]))
        slides = scores[scores["complete"]]
        alone = {CONTEXT: np.nan}
        for name, ranked in {
            "all patches": rank_labels(scores),
            "all patches, without neighbours": rank_labels(scores.assign(**alone)),
            "the three complete slides": rank_labels(slides),
            "the three complete slides, without neighbours": rank_labels(slides.assign(**alone)),
        }.items():
            found.setdefault(name, []).append(ranked)
        print(f"seed {seed + 1} of {SEEDS}", flush=True)
    lines = [
        "| list of | patches | planted | of them in the first tenth, mean of five seeds | from seed to seed"
        " | planted share of the first tenth |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, lists in found.items():
        shares = [_share_found(ranked) for ranked in lists]
        low, high = _interval(lists)
        first = np.mean([ranked["planted"].iloc[: _length(ranked)].mean() for ranked in lists])
        counts = f"{len(lists[0]):,} | {np.mean([ranked['planted'].sum() for ranked in lists]):,.0f}"
        lines.append(
            f"| {name} | {counts} | {np.mean(shares):.1%} [{low:.1%}, {high:.1%}]"
            f" | {min(shares):.1%} to {max(shares):.1%} | {first:.1%} |"
        )
    mean = np.mean([_share_found(ranked) for ranked in found["all patches"]])
    verdict = "is reached" if mean >= WANTED else f"is missed by {WANTED - mean:.1%}"
    return "\n".join(lines) + f"\n\nAt least {WANTED:.0%} was wanted; that {verdict}."


def _score(folds: list[Fold], random: np.random.Generator) -> pd.DataFrame:
    """Plants labels and scores every patch out of fold: label, planted, logit, probability, and that in context."""
    parts = []
    for fold in folds:
        planted = random.random(len(fold.patches)) < PLANTED
        label = np.where(planted, 1 - fold.patches["label"], fold.patches["label"]).astype(np.int64)
        dealt = deal_evaluation_folds(patient_keys(fold.patches), _HEADS)
        logit = np.empty(len(label))
        for held_out in range(_HEADS):
            mine = dealt == held_out
            head = Head(fold.features[:, ~mine], label[~mine])
            logit[mine] = head.score(fold.features[:, mine])[0]
        parts.append(fold.patches.assign(label=label, planted=planted, logit=logit))
    scores: pd.DataFrame = pd.concat(parts, ignore_index=True)
    scores["probability"], scores[CONTEXT] = _SAME.apply(scores["logit"]), _score_in_context(scores)
    return scores


def _score_in_context(scores: pd.DataFrame) -> NDArray[np.float64]:
    """Scores each complete slide with the stage of neighbours that was fitted on the others."""
    found = np.full(len(scores), np.nan)
    slides = scores[scores["complete"]]
    for patient in slides["patient"].unique():
        mine = (scores["patient"] == patient).to_numpy()
        stage = fit_stage(slides[slides["patient"] != patient], _SAME)
        found[mine] = score_context(scores[mine], _SAME, stage)
    return found


def _length(ranked: pd.DataFrame) -> int:
    return round(FIRST * len(ranked))


def _share_found(ranked: pd.DataFrame) -> float:
    return float(ranked["planted"].iloc[: _length(ranked)].sum() / ranked["planted"].sum())


def _interval(lists: list[pd.DataFrame]) -> tuple[float, float]:
    """The middle 95 % of the mean share over resamples of patients, with the lists as they are."""
    keys = patient_keys(lists[0]).unique()
    tables = []
    for ranked in lists:
        first = np.arange(len(ranked)) < _length(ranked)
        told = pd.DataFrame({"all": ranked["planted"], "found": ranked["planted"] & first})
        tables.append(told.groupby(patient_keys(ranked)).sum().reindex(keys).to_numpy(np.float64))
    random = np.random.default_rng(0)
    weights = random.multinomial(len(keys), np.full(len(keys), 1 / len(keys)), size=_RESAMPLES)
    shares = np.mean([(weights @ table[:, 1]) / (weights @ table[:, 0]) for table in tables], axis=0)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)
