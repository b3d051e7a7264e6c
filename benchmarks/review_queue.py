"""Whether the queue saves labels: AUROC by the number of labels, for the queue and for random choice.

Of each fold, half of the patients are a hospital whose labels are all hidden, and the other half evaluate; then the
other way round, so that every patient evaluates once for each seed. The first labels are drawn at random, the same
for every way of choosing. Then a head is fitted, scores the patches that have no label, the next ones are chosen, and
so on. AUROC is of the natural sample, over pairs of patches of one half. Intervals resample patients, the same ones
for every way of choosing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from review_features import Depth, Fold, Head

from bcd.charts import BLUE, GREEN, MUTED, ORANGE, page
from bcd.evaluation.metrics.ranking import concordance
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.formats import format_signed
from bcd.patches import patient_keys
from bcd.review.queue import pick_patches, value_patches
from bcd.scoring.result import SPREAD

FIRST, STEP, MOST = 20, 20, 400
LABELS = list(range(FIRST, MOST + 1, STEP))
SHOWN = (20, 100, 200, 300, 400)
TARGETS = (100, 200, 300)
_RESAMPLES = 1000

Choose = Callable[[pd.DataFrame, np.random.Generator], NDArray[np.int64]]
"""Chooses STEP of the patches without a label, whose scores are at hand."""


def _choose_randomly(candidates: pd.DataFrame, random: np.random.Generator) -> NDArray[np.int64]:
    return random.permutation(len(candidates))[:STEP]


def _choose_spread(candidates: pd.DataFrame, random: np.random.Generator) -> NDArray[np.int64]:
    return pick_patches(candidates.assign(value=random.random(len(candidates)) / 1e3 + 1), STEP)


def _choose_uncertain(candidates: pd.DataFrame, _: np.random.Generator) -> NDArray[np.int64]:
    return np.argsort(-candidates["uncertainty"].to_numpy(), kind="stable")[:STEP]


def _choose_queue(candidates: pd.DataFrame, _: np.random.Generator) -> NDArray[np.int64]:
    return pick_patches(candidates, STEP)


RANDOM, QUEUE = "random choice", "the queue"
WAYS: dict[str, Choose] = {
    RANDOM: _choose_randomly,
    "random, spread over patients as the queue is": _choose_spread,
    "the most uncertain, not spread": _choose_uncertain,
    QUEUE: _choose_queue,
}


class Pairs:
    """Pairs of a positive and a negative patch, by their patients, over seeds: in the right order, and all.

    Args:
        patients: How many there are.
    """

    def __init__(self, patients: int) -> None:
        self.right = np.zeros((len(WAYS), len(LABELS), patients, patients))
        self.all = np.zeros((patients, patients))

    def auroc(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns AUROC by way, number of labels and resample, (ways, numbers, resamples)."""
        everything = ((weights @ self.all) * weights).sum(axis=1)
        return np.asarray(((weights @ self.right) * weights).sum(axis=-1) / everything)


TITLES: dict[Depth, str] = {
    "first": "Features of the network's first stage, which know little of IDC: there is much to learn from labels.",
    "last": "Features of its last layer, which tell IDC already: labels say little that is new.",
}


def tell_queue(folds: Mapping[Depth, list[Fold]], seeds: int, picture: Path) -> str:
    """Simulates with features of each depth, draws the curves, and returns the tables in Markdown."""
    parts, curves = [], {}
    for depth, of_depth in folds.items():
        values, resampled = simulate(of_depth, seeds)
        parts.append(f"{TITLES[depth]}\n\n{_tell_auroc(values, resampled)}\n\n{_tell_needed(values, resampled)}")
        curves[depth] = values
    _draw(curves, picture, f"{seeds} seeds")
    return "\n\n".join(parts)


def simulate(folds: list[Fold], seeds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns AUROC by way and number of labels, (ways, numbers), and of resamples, (ways, numbers, resamples)."""
    keys = sorted({key for fold in folds for key in patient_keys(fold.patches)})
    pairs = Pairs(len(keys))
    for seed in range(seeds):
        for number, fold in enumerate(folds):
            _simulate_fold(fold, keys, pairs, np.random.default_rng([seed, number]))
        print(f"seed {seed + 1} of {seeds}", flush=True)
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(keys), np.full(len(keys), 1 / len(keys)), size=_RESAMPLES).astype(np.float64)
    return pairs.auroc(np.ones((1, len(keys))))[..., 0], pairs.auroc(drawn)


def _simulate_fold(fold: Fold, keys: list[str], pairs: Pairs, random: np.random.Generator) -> None:
    key = patient_keys(fold.patches).to_numpy(str)
    patients = random.permutation(np.unique(key))
    for half in range(2):
        pool = np.flatnonzero(np.isin(key, patients[half::2]))
        rest = np.flatnonzero(~np.isin(key, patients[half::2]) & fold.patches["natural"].to_numpy())
        first = _draw_first(fold.patches.iloc[pool], random)
        for way, choose in enumerate(WAYS.values()):
            state = np.random.default_rng(random.integers(2**32))
            for at, logit in enumerate(_run(fold, pool, rest, first=first, choose=choose, random=state)):
                _count(fold.patches.iloc[rest], logit, keys, pairs, (way, at))


def _draw_first(pool: pd.DataFrame, random: np.random.Generator) -> NDArray[np.int64]:
    """Draws the first labels at random; again where they are of one class."""
    while True:
        first = random.permutation(len(pool))[:FIRST]
        if pool["label"].iloc[first].nunique() == 2:
            return first


def _run(
    fold: Fold,
    pool: NDArray[np.int64],
    rest: NDArray[np.int64],
    *,
    first: NDArray[np.int64],
    choose: Choose,
    random: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Labels a pool step by step; returns the logits of the rest after each."""
    labels, features = fold.patches["label"].to_numpy(np.int64), fold.features
    in_pool, at_rest = features[:, pool], features[:, rest]
    known, told = first, []
    while True:
        head = Head(features[:, pool[known]], labels[pool[known]])
        told.append(head.score(at_rest)[0])
        if len(known) >= MOST:
            return told
        logit, turns = head.score(in_pool)
        scores = fold.patches.iloc[pool].assign(probability=1 / (1 + np.exp(-logit)))
        valued = value_patches(scores.assign(**{SPREAD: turns.std(axis=0)}).reset_index(drop=True))
        waiting = np.setdiff1d(np.arange(len(pool)), known)
        known = np.concatenate([known, waiting[choose(valued.iloc[waiting], random)]])


def _count(
    patches: pd.DataFrame, logit: NDArray[np.float64], keys: list[str], pairs: Pairs, at: tuple[int, int]
) -> None:
    sample = make_evaluation_sample(patches.assign(probability=1 / (1 + np.exp(-logit))))
    here = np.searchsorted(keys, [f"{hospital}/{patient}" for hospital, patient in sample.patients])
    block = np.ix_(here, here)
    pairs.right[at][block] += concordance(sample)
    if at == (0, 0):
        positive, negative = (
            np.bincount(sample.patient[chosen], minlength=len(here)) for chosen in (sample.positive, ~sample.positive)
        )
        pairs.all[block] += np.outer(positive, negative)


def find_needed(curve: NDArray[np.float64], target: float) -> float:
    """Returns how many labels a curve over LABELS needs for a target, interpolated; infinite where it never does."""
    best = np.maximum.accumulate(curve)
    if best[-1] < target:
        return np.inf
    at = int(np.argmax(best >= target))
    if at == 0:
        return float(LABELS[0])
    share = (target - best[at - 1]) / (best[at] - best[at - 1])
    return float(LABELS[at - 1] + share * STEP)


def _tell_auroc(values: NDArray[np.float64], resampled: NDArray[np.float64]) -> str:
    columns = [LABELS.index(number) for number in SHOWN]
    lines = _begin_table("AUROC after", [f"{number} labels" for number in SHOWN])
    for way, name in enumerate(WAYS):
        lines.append(f"| {name} | " + " | ".join(_decimal(values[way, at]) for at in columns) + " |")
    for other, name in ((0, RANDOM), (1, "random, spread")):
        gain, gains = (each[-1] - each[other] for each in (values, resampled))
        ends = [", ".join(map(format_signed, _interval(gains[at]))) for at in columns]
        spans = [f"{format_signed(gain[at])} [{span}]" for at, span in zip(columns, ends, strict=True)]
        lines.append(f"| {QUEUE} above {name} | " + " | ".join(spans) + " |")
    return "\n".join(lines)


def _tell_needed(values: NDArray[np.float64], resampled: NDArray[np.float64]) -> str:
    lines = _begin_table(f"labels for the AUROC of {RANDOM} with", list(WAYS)[1:])
    for number in TARGETS:
        at = LABELS.index(number)
        cells = []
        for way in range(1, len(WAYS)):
            needed = find_needed(values[way], values[0, at])
            spread = [
                find_needed(curve, target) for curve, target in zip(resampled[way].T, resampled[0, at], strict=True)
            ]
            low, high = _interval(np.array(spread))
            cells.append(f"{_labels(needed)} [{_labels(low)}, {_labels(high)}]")
        lines.append(f"| {number} labels, {_decimal(values[0, at])} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _begin_table(first: str, others: list[str]) -> list[str]:
    return [f"| {' | '.join([first, *others])} |", "| --- |" + " --- |" * len(others)]


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975], method="nearest")
    return float(low), float(high)


def _labels(number: float) -> str:
    return f"{number:.0f}" if np.isfinite(number) else f"over {MOST}"


def _decimal(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _draw(curves: Mapping[Depth, NDArray[np.float64]], picture: Path, note: str) -> None:
    with page(picture, title="AUROC by the number of labels", note=note, size=(9, 4)) as figure:
        drawn = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
        for axes, (depth, values) in zip(drawn, curves.items(), strict=True):
            for curve, name, colour, marker in zip(values, WAYS, (MUTED, GREEN, ORANGE, BLUE), "s^vo", strict=True):
                axes.plot(LABELS, curve, color=colour, marker=marker, markersize=3, label=name)
            axes.set(xlabel="labels", ylabel="AUROC on other patients", title=f"features of the {depth} stage")
        drawn[-1].legend(loc="lower right", fontsize=7)
