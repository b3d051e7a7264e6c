"""Strategies of search, replayed on the table of trained recipes (`search_table.py`) hundreds of times.

A replay takes recipes of the table one after another, as its sampler proposes, trains each as far as its pruner lets
it, and pays for every epoch in multiply-adds, so that it does not depend on the machine. What it would choose at any
moment is the best val score among the whole trials. What the choice is worth is the AUROC on the patients that no
search saw, of the same recipe trained without another fold and on another seed; where the table has one fold only, of
the same training.

    .venv/bin/python benchmarks/search_replay.py                    # some minutes; trains nothing
    .venv/bin/python benchmarks/search_replay.py --replays 20       # a look

Every strategy is replayed on one half of the rows and again on the other: what wins on the first is confirmed, or
not, on the second. Intervals are over replays, paired with random search without pruning; they say how sure the table
is of itself, not how another hospital's table would look.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from search_table import CURVES, HERE, ROWS, RUNGS, VAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFERENCES = 2  # the first rows of the table, which a study does not pay for
_RESAMPLES = 200
_WIDTH, _OTHER = 0.2, 0.1  # of kernels: share of a range, and what another choice counts
_STARTUP = 8  # proposals by chance before a model has something to go by, as in a study


@dataclass(frozen=True)
class Table:
    """Rows that are trained in every fold used.

    Attributes:
        points: What each row is, as parameters of the space.
        val: Val score (rows, epochs) that a search sees.
        worth: AUROC on held-out patients (rows,) of a training that the search did not see.
        cost: Compute of an epoch (rows,), in epochs of `compact`.
        resampled: AUROC (rows, rungs, resamples) on the same resampled val patients; NaN without logits.
    """

    points: list[dict[str, Any]]
    val: NDArray[np.float64]
    worth: NDArray[np.float64]
    cost: NDArray[np.float64]
    resampled: NDArray[np.float64]

    def part(self, rows: NDArray[np.int64]) -> Table:
        """Returns the table of some rows."""
        points = [self.points[row] for row in rows]
        return Table(points, self.val[rows], self.worth[rows], self.cost[rows], self.resampled[rows])

    @property
    def epochs(self) -> int:
        """Epochs of a whole trial."""
        return int(self.val.shape[1])

    @cached_property
    def likeness(self) -> NDArray[np.float64]:
        """How alike two rows are in each parameter (parameters, rows, rows), from 0 to 1."""
        from bcd.search.space import SPACE

        own = ((values, [point.get(name) for point in self.points]) for name, values in SPACE.items())
        return np.stack([_likeness(values, found) for values, found in own])


def _likeness(values: Any, found: list[Any]) -> NDArray[np.float64]:
    """Equal choices are alike, others a little; numbers by a Gaussian of a fifth of their range; absence is equal."""
    absent = np.array([value is None for value in found])
    if type(values) is tuple:
        codes = np.array([-1 if value is None else values.index(value) for value in found])
        return np.where(codes[:, None] == codes, 1.0, _OTHER)
    scale = np.log if values.step is None else np.asarray
    places = np.array([scale(values.low if value is None else value) for value in found], np.float64)
    apart = (places[:, None] - places) / (_WIDTH * (scale(values.high) - scale(values.low)))
    return np.where(
        absent[:, None] | absent, np.where(absent[:, None] & absent, 1.0, _OTHER), np.exp(-(apart**2) / 2)
    )


Propose = Callable[[list[int], list[int], list[float]], int]
"""From the untried rows, those tried and their scores to the next row."""

MakeSampler = Callable[[Table, int], Propose]
"""From a table and a seed to what proposes its rows."""


def by_chance(_table: Table, seed: int) -> Propose:
    """Every untried row alike."""
    random = np.random.default_rng(seed)
    return lambda untried, *_: int(random.choice(untried))


def by_tpe(table: Table, seed: int, *, multivariate: bool) -> Propose:
    """The untried row whose place is densest in good rows beside the others (Bergstra 2011), a tenth being good.

    Densities are kernels on the rows tried and a flat prior that counts as one row: of each parameter by itself, or
    of all of them jointly (Falkner 2018). A study draws its candidates from the good density; here all rows are.
    """
    random = np.random.default_rng(seed)
    kernels = table.likeness.prod(axis=0, keepdims=True) if multivariate else table.likeness
    prior = kernels.mean(axis=(1, 2))

    def density(rows: NDArray[np.int64], untried: list[int]) -> NDArray[np.float64]:
        found = kernels[:, untried][:, :, rows].sum(axis=2) + prior[:, None]
        return np.asarray(np.log(found / (len(rows) + 1)).sum(axis=0))

    def ask(untried: list[int], tried: list[int], scores: list[float]) -> int:
        if len(tried) < _STARTUP:
            return int(random.choice(untried))
        order = np.array(tried)[np.argsort(-np.array(scores), kind="stable")]
        good = -(-len(tried) // 10)
        return untried[int(np.argmax(density(order[:good], untried) - density(order[good:], untried)))]

    return ask


def by_gaussian_process(table: Table, seed: int) -> Propose:
    """The untried row of the largest expected improvement (Jones 1998) by a Gaussian process on the rows tried."""
    from scipy.stats import norm
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    values = _one_hot(table.points)
    random = np.random.default_rng(seed)

    def ask(untried: list[int], tried: list[int], scores: list[float]) -> int:
        if len(tried) < _STARTUP:
            return int(random.choice(untried))
        kernel = ConstantKernel(1.0) * RBF(2.0, (0.5, 20.0)) + WhiteKernel(0.5, (1e-3, 2.0))
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(values[tried], scores)
        mean, spread = model.predict(values[untried], return_std=True)
        best = max(model.predict(values[tried]))
        z = (mean - best) / np.maximum(spread, 1e-9)
        return untried[int(np.argmax((mean - best) * norm.cdf(z) + spread * norm.pdf(z)))]

    return ask


def _one_hot(points: list[dict[str, Any]]) -> NDArray[np.float64]:
    frame = pd.DataFrame(points)
    text = frame.select_dtypes(exclude=["number", "bool"]).columns
    frame = pd.get_dummies(frame, columns=list(text)).astype(float)
    spread = (frame.max() - frame.min()).replace(0, 1)
    return np.asarray(((frame - frame.min()) / spread).fillna(0.5).to_numpy(float))


def spread_first(table: Table, seed: int) -> Propose:
    """Rows unlike one another first, then TPE: what a quasi-random start does in a space that is a table."""
    then, alike = by_tpe(table, seed, multivariate=False), table.likeness.sum(axis=0)

    def ask(untried: list[int], tried: list[int], scores: list[float]) -> int:
        if tried and len(tried) < _STARTUP:
            return untried[int(np.argmin(alike[np.ix_(untried, tried)].max(axis=1)))]
        return then(untried, tried, scores)

    return ask


@dataclass
class Tried:
    """The trials of a replay so far.

    Attributes:
        rows: Their rows.
        ran: Epochs that each ran.
    """

    rows: list[int]
    ran: list[int]

    def whole(self, epochs: int) -> list[int]:
        """Returns the rows that ran to the end."""
        return [row for row, ran in zip(self.rows, self.ran, strict=True) if ran == epochs]

    def reached(self, epoch: int) -> list[int]:
        """Returns the rows that ran at least so far."""
        return [row for row, ran in zip(self.rows, self.ran, strict=True) if ran >= epoch]


Prune = Callable[[Table, Tried, int, int], bool]
"""Whether a row, after an epoch, goes no further; from the table, the trials before, the row and the epoch."""


def below_median(table: Table, tried: Tried, row: int, epoch: int, *, first: int) -> bool:
    """Prunes what is below the median of the whole trials at that epoch (Golovin 2017), from an epoch on."""
    whole = tried.whole(table.epochs)
    return epoch >= first and bool(whole) and table.val[row, epoch - 1] < np.median(table.val[whole, epoch - 1])


def by_halving(table: Table, tried: Tried, row: int, epoch: int, *, rungs: tuple[int, ...]) -> bool:
    """Prunes at a rung what is not in the upper third of those that reached it (Li 2020), as Optuna counts thirds."""
    if epoch not in rungs:
        return False
    others = table.val[tried.reached(epoch), epoch - 1]
    return bool(np.sum(others > table.val[row, epoch - 1]) >= max(1, (len(others) + 1) // 3))


def by_hyperband(table: Table, tried: Tried, row: int, epoch: int) -> bool:
    """Halves from epoch 1, from epoch 3, or not at all, a third of the trials each (Li 2018)."""
    rungs = ((1, 3), (3,), ())[len(tried.rows) % 3]
    mine = [index for index in range(len(tried.rows)) if index % 3 == len(tried.rows) % 3]
    bracket = Tried([tried.rows[index] for index in mine], [tried.ran[index] for index in mine])
    return by_halving(table, bracket, row, epoch, rungs=rungs)


def by_racing(table: Table, tried: Tried, row: int, epoch: int) -> bool:
    """Prunes what fewer than one in ten resamples of the val patients put ahead of the best whole trial so far."""
    whole = tried.whole(table.epochs)
    if epoch not in RUNGS[:-1] or not whole:
        return False
    best = whole[int(np.argmax(table.val[whole, -1]))]
    rung = RUNGS.index(epoch)
    return bool(np.mean(table.resampled[row, rung] > table.resampled[best, rung]) < 0.1)


SAMPLERS: dict[str, MakeSampler] = {
    "random": by_chance,
    "TPE": lambda table, seed: by_tpe(table, seed, multivariate=False),
    "TPE, multivariate": lambda table, seed: by_tpe(table, seed, multivariate=True),
    "TPE, spread start": spread_first,
    "Gaussian process": by_gaussian_process,
}
PRUNERS: dict[str, Prune] = {
    "none": lambda *_: False,
    "median": lambda *state: below_median(*state, first=1),
    "median from epoch 3": lambda *state: below_median(*state, first=3),
    "halving from epoch 1": lambda *state: by_halving(*state, rungs=(1, 3)),
    "halving from epoch 3": lambda *state: by_halving(*state, rungs=(3,)),
    "Hyperband": by_hyperband,
    "racing": by_racing,
}
BASE = ("random", "none")


@dataclass(frozen=True)
class Replay:
    """What a search had found after how much compute.

    Attributes:
        spent: Compute after each trial from the first whole one on, ascending.
        chosen: The row that is chosen then.
        whole: The rows that ran to the end.
    """

    spent: list[float]
    chosen: list[int]
    whole: list[int]

    def choice_at(self, compute: float) -> int | None:
        """Returns the row that is chosen when that much is spent; None before the first whole trial."""
        ended = int(np.searchsorted(self.spent, compute, side="right"))
        return self.chosen[ended - 1] if ended else None

    def best(self, table: Table, number: int) -> list[int]:
        """Returns the rows of the best last val scores among the whole trials, the best first."""
        return sorted(self.whole, key=lambda row: -table.val[row, -1])[:number]


def replay(table: Table, sampler: str, pruner: str, budget: float, seed: int, *, first: Sequence[int] = ()) -> Replay:
    """Searches the table until the budget, in epochs of `compact`, is spent or every row is tried.

    Args:
        table: What is searched.
        sampler: One of SAMPLERS.
        pruner: One of PRUNERS.
        budget: Compute that is spent; the last trial may go beyond it.
        seed: Of what chance decides.
        first: Rows that are tried before the sampler proposes any.
    """
    ask, prune = SAMPLERS[sampler](table, seed), PRUNERS[pruner]
    tried, scores, spent = Tried([], []), list[float](), 0.0
    found, waiting = Replay([], [], []), list(first)
    untried = list(range(len(table.points)))
    while untried and spent < budget:
        row = waiting.pop(0) if waiting else ask(untried, tried.rows, scores)
        untried.remove(row)
        ran = next((e for e in range(1, table.epochs) if prune(table, tried, row, e)), table.epochs)
        spent += ran * table.cost[row]
        tried.rows.append(row)
        tried.ran.append(ran)
        scores.append(float(table.val[row, ran - 1]))
        if ran == table.epochs:
            found.whole.append(row)
        if found.whole:
            found.spent.append(spent)
            found.chosen.append(found.best(table, 1)[0])
    return found


def read_table(folder: Path) -> Table:
    """Reads what is trained of the table: the rows that every fold has which all of the first fold's rows allow.

    With several whole folds, a search sees the first, and a choice is worth the mean of the others.
    """
    known = pd.read_csv(folder / ROWS)["row"]
    curves = pd.read_csv(folder / CURVES)
    counts = curves.groupby("fold")["row"].nunique()
    folds = [int(fold) for fold in counts.index if counts[fold] == counts.max()]
    kept = [int(row) for row in known if all(((curves.row == row) & (curves.fold == f)).any() for f in folds)]
    first = curves[curves.fold == folds[0]].pivot(index="row", columns="epoch", values="val").loc[kept]
    last = curves[curves.epoch == curves.epoch.max()].pivot(index="row", columns="fold", values="held_out").loc[kept]
    print(f"{len(kept)} rows, {len(folds)} folds: a choice is worth what it has without "
          f"{'the other folds' if len(folds) > 1 else 'the same fold (no other is trained)'}.")  # fmt: skip
    points, cost = read_points(folder, kept)
    return Table(
        points,
        first.to_numpy(),
        np.asarray(last[folds[1:] or folds].mean(axis=1), np.float64),
        cost,
        resample(pd.read_parquet(folder / VAL).query(f"fold == {folds[0]}"), kept),
    )


def read_points(folder: Path, rows: list[int]) -> tuple[list[dict[str, Any]], NDArray[np.float64]]:
    """Reads what rows are as points of the space, and what an epoch of each costs in epochs of `compact`."""
    known = pd.read_csv(folder / ROWS).set_index("row")
    cost = known.loc[rows, "multiply_adds"].to_numpy(np.float64) / float(known["multiply_adds"].iloc[0])
    return [json.loads(point) for point in known.loc[rows, "point"]], cost


def resample(val: pd.DataFrame, rows: list[int]) -> NDArray[np.float64]:
    """Returns the AUROC (rows, rungs, resamples) on the same resamples of the val patients, who weigh the same."""
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(1)
    groups = {row: val[val["row"] == row] for row in rows}
    patients, inverse, sizes = np.unique(
        groups[rows[0]]["patient"].astype(str), return_inverse=True, return_counts=True
    )
    times = random.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=_RESAMPLES)
    weights = (times / sizes)[:, inverse]
    made = np.full((len(rows), len(RUNGS), _RESAMPLES), np.nan)
    for index, row in enumerate(rows):
        labels = groups[row]["label"].to_numpy()
        for rung, epoch in enumerate(RUNGS):
            logits = groups[row][f"logit_{epoch}"].to_numpy(np.float32)
            made[index, rung] = [roc_auc_score(labels, logits, sample_weight=weight) for weight in weights]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replays", type=int, default=300)
    parser.add_argument("--budget", type=float, default=12, help="of a replay, in whole trainings of compact")
    parser.add_argument("--table", type=Path, default=HERE, help="folder of the table")
    arguments = parser.parse_args()
    table = read_table(arguments.table)
    describe(table)
    searched = np.arange(REFERENCES, len(table.points))
    halves = np.random.default_rng(5).permutation(len(searched))
    half = len(searched) // 2
    parts = {
        "chosen on": table.part(searched[np.sort(halves[:half])]),
        "confirmed on": table.part(searched[np.sort(halves[half:])]),
        "all": table.part(searched),
    }
    for name, part in parts.items():
        budget = arguments.budget * table.epochs
        print(f"\n## {name.capitalize()} ({len(part.points)} rows; best worth {part.worth.max():.4f})\n")
        print_table(part, budget, arguments.replays)


def describe(table: Table) -> None:
    """Prints what there is to find, and what foretells it."""
    from scipy.stats import spearmanr

    epochs = range(1, table.epochs + 1)
    last = ", ".join(f"{e}: {spearmanr(table.val[:, e - 1], table.val[:, -1]).statistic:+.2f}" for e in epochs)
    worth = ", ".join(f"{e}: {spearmanr(table.val[:, e - 1], table.worth).statistic:+.2f}" for e in epochs)
    best = spearmanr(table.val.max(axis=1), table.worth).statistic
    print(f"Worth: {table.worth.min():.4f} to {table.worth.max():.4f}, `compact` {table.worth[0]:.4f}, "
          f"`dissertation` {table.worth[1]:.4f}")  # fmt: skip
    print(f"Rank correlation of the val score after an epoch with the last: {last}")
    print(f"… with the worth: {worth}; the best epoch's: {best:+.2f}")


def print_table(table: Table, budget: float, replays: int) -> None:
    """Prints every strategy beside random search without pruning."""
    base = [replay(table, *BASE, budget, seed) for seed in range(replays)]
    ground = worths(table, base, budget)
    goal = ground.mean()
    print("| sampler | pruner | worth of the choice | beside random, same compute | has random's final mean after |")
    print("| --- | --- | --- | --- | --- |")
    pairs = [(sampler, pruner) for sampler in ("random", "TPE") for pruner in PRUNERS]
    pairs += [("TPE, multivariate", "halving from epoch 3")]
    pairs += [(sampler, "none") for sampler in list(SAMPLERS)[2:]]  # the slowest is the last
    for sampler, pruner in pairs:
        made = (
            base if (sampler, pruner) == BASE else [replay(table, sampler, pruner, budget, s) for s in range(replays)]
        )
        got = worths(table, made, budget)
        low, high = interval(got - ground)
        print(f"| {sampler} | {pruner} | {got.mean():.4f} | {got.mean() - goal:+.4f} [{low:+.4f}, {high:+.4f}] "
              f"| {reach(table, made, goal, budget)} |", flush=True)  # fmt: skip


def worths(table: Table, replays: list[Replay], compute: float) -> NDArray[np.float64]:
    """Returns what each replay's choice is worth when that much is spent; .5 where it has none."""
    choices = [one.choice_at(compute) for one in replays]
    return np.array([0.5 if choice is None else table.worth[choice] for choice in choices])


def reach(table: Table, replays: list[Replay], goal: float, budget: float) -> str:
    """Says after which share of the budget the mean worth is at the goal and stays there."""
    shares = np.arange(0.05, 1.0001, 0.05)
    means = np.array([worths(table, replays, share * budget).mean() for share in shares])
    stays = np.minimum.accumulate(means[::-1])[::-1] >= goal - 1e-9
    return f"{shares[np.argmax(stays)]:.0%}" if stays.any() else "not within it"


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % interval of the mean over replays, by the normal law."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


if __name__ == "__main__":
    main()
