"""How often a nominal 95 % interval holds the truth, by method, statistic and number of patients.

Patients are drawn with the real set's sizes and with effects of their own; the truth is known by quadrature.

    .venv/bin/python benchmarks/simulations_intervals.py --share 0.1     # a tenth of the samples
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from interval_methods import METHODS, Figure, auroc_error, ratio_error
from made_scores import (
    ScoredPatches,
    ScoreModel,
    compute_true_metric,
    draw_patch_pair,
    draw_patches,
    separate_to_auroc,
)

from bcd.evaluation.calls import is_confident
from bcd.evaluation.metrics.intervals import Array, Statistic, draw_resamples, interval
from bcd.evaluation.metrics.metrics import Resampled, find_metric_patches, measure_leverage, ratio
from bcd.evaluation.metrics.sample import Sample
from bcd.evaluation.metrics.tallies import tally_by_patient
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.report.tables import Table

OPTIONS = EvaluateOptions(resamples=1000)
PERCENTILE = OPTIONS.model_copy(update={"interval": "percentile"})
SAMPLES = {15: 1000, 29: 1000, 49: 1000, 150: 1000, 300: 600}
STATISTICS = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "selective_error": "selective error",
    "recall": "recall",
    "specificity": "specificity",
}
WORLDS = {
    "patients alike": ScoreModel(patient_sd=0.0, slope_sd=0.0),
    "patients twice as different": ScoreModel(patient_sd=1.0, slope_sd=0.4),
    "a stronger network": ScoreModel(separation=4.0),
}
_LEVEL = 0.95


@dataclass
class Record:
    """What became of a method's intervals in many samples."""

    samples: int = 0
    above: int = 0
    below: int = 0
    width: float = 0.0
    none: int = 0

    def add(self, low: float | None, high: float | None, truth: float) -> None:
        """Notes one interval; one without width counts as none."""
        if low is None or high is None or not high > low:
            self.none += 1
            return
        self.samples += 1
        self.above += low > truth
        self.below += high < truth
        self.width += high - low

    @property
    def coverage(self) -> float:
        """Share of samples whose interval holds the truth."""
        return 1 - (self.above + self.below) / self.samples

    def __str__(self) -> str:
        text = f"{self.coverage:.3f} ({self.width / self.samples:.3f})".replace("0.", ".")
        return f"{text}, {self.none} without" if self.none else text


Records = dict[tuple[str, int, str], Record]


def main() -> None:
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="share of the full number of samples (default 1)")
    print(report(parser.parse_args().share))


def report(share: float = 1.0) -> str:
    """Runs every simulation and returns the tables in Markdown."""
    sizes = {n: max(2, round(share * samples)) for n, samples in SAMPLES.items()}
    tables = [coverage_table(sizes), *world_tables(sizes), difference_table(sizes)]
    return "\n".join(table.markdown() for table in tables)


def coverage_table(sizes: dict[int, int]) -> Table:
    """Makes the table of coverage by statistic, patients and method."""
    records: Records = defaultdict(Record)
    for n, samples in sizes.items():
        _try_methods(records, ScoreModel(), n, samples)
    rows = [
        [name, str(n), *(str(records[key, n, method]) for method in METHODS)]
        for key, name in STATISTICS.items()
        for n in sizes
    ]
    counts = ", ".join(f"{samples:,} samples of {n}" for n, samples in sizes.items())
    caption = (
        f"Share of nominal 95 % intervals that hold the truth, and their mean width. {counts} patients; Monte-Carlo "
        f"error of a coverage of .95: {_error(max(sizes.values())):.3f} to {_error(min(sizes.values())):.3f}. "
        f"{OPTIONS.resamples:,} resamples."
    )
    return Table(caption, ["statistic", "patients", *METHODS], rows)


def world_tables(sizes: dict[int, int]) -> Iterator[Table]:
    """Makes the same table for other patients and networks, of the customary and the chosen method."""
    rows = []
    chosen = {n: sizes[n] // 2 for n in (49, 150)}
    for world, model in WORLDS.items():
        records: Records = defaultdict(Record)
        for n, samples in chosen.items():
            _try_methods(records, model, n, samples, methods=("percentile", "jackknife"))
        for key in ("auroc", "accuracy", "selective_error"):
            found = [str(records[key, n, method]) for n in chosen for method in ("percentile", "jackknife")]
            rows.append([world, f"{STATISTICS[key]} ({compute_true_metric(model, key):.3f})", *found])
    header = ["patients and network", "statistic (truth)"]
    header += [f"{n}: {method}" for n in chosen for method in ("percentile", "jackknife")]
    caption = f"The same on other patients and networks, {chosen[49]:,} samples each."
    yield Table(caption, header, rows)


def difference_table(sizes: dict[int, int]) -> Table:
    """Makes the table of differences of two models on the same patches, the second worse by .02 in AUROC."""
    first = ScoreModel()
    second = separate_to_auroc(first, compute_true_metric(first, "auroc") - 0.02)
    keys = ("auroc", "accuracy", "recall", "specificity")
    rows = []
    chosen = {n: sizes[n] // 2 for n in (15, 29, 49, 150)}
    for n, samples in chosen.items():
        records: Records = defaultdict(Record)
        weights = draw_resamples(n, OPTIONS)
        for number in range(samples):
            a, b = draw_patch_pair(first, second, n, np.random.default_rng((2, n, number)))
            _compare(records, (_evaluate(a, n, weights), _evaluate(b, n, weights)), keys, (first, second))
        for key in keys:
            found = [records[key, n, method] for method in ("percentile", "jackknife")]
            high = [f"{100 * record.above / max(record.samples, 1):.1f} %" for record in found]
            rows.append([STATISTICS[key], str(n), *map(str, found), *high])
    header = ["difference in", "patients", "percentile", "jackknife"]
    header += ["lower end too high: percentile", "jackknife"]
    caption = (
        "Differences of two models on the same patches, of which the second is worse by .020 in AUROC; "
        f"{', '.join(f'{samples:,} pairs of {n}' for n, samples in chosen.items())} patients. The lower end, which "
        "the gate leans on, may lie above the truth in 2.5 %."
    )
    return Table(caption, header, rows)


def _try_methods(
    records: Records, model: ScoreModel, n: int, samples: int, *, methods: tuple[str, ...] = tuple(METHODS)
) -> None:
    weights = draw_resamples(n, OPTIONS)
    for number in range(samples):
        resampled = _evaluate(draw_patches(model, n, np.random.default_rng((1, n, number))), n, weights)
        for key in STATISTICS:
            figure = _figure(resampled, key)
            for method in methods:
                low, high = METHODS[method](figure, OPTIONS)
                records[key, n, method].add(low, high, compute_true_metric(model, key))


def _evaluate(patches: ScoredPatches, n: int, weights: Array) -> Resampled:
    patients = [("hospital", str(number)) for number in range(n)]
    sample = Sample(patches.label == 1, patches.probability, patches.patient, patients)
    return replace(Resampled.of(sample, OPTIONS), weights=weights)


def _figure(resampled: Resampled, key: str) -> Figure:
    t = resampled.tallies
    if key == "auroc":
        patches = find_metric_patches(key, t)
        error = auroc_error(resampled.pairs, t.positive, t.negative)
        return Figure(_values(resampled, key), resampled.weights, measure_leverage(key, t), patches, error)
    if key == "selective_error":
        confident = tally_by_patient(resampled.sample, is_confident(resampled.sample.probability, _LEVEL))
        part, whole = confident.fp + confident.fn, confident.n
    else:
        part = {"accuracy": t.tp + t.tn, "recall": t.tp, "specificity": t.tn}[key]
        whole = {"accuracy": t.n, "recall": t.positive, "specificity": t.negative}[key]
    return Figure(ratio(part, whole), resampled.weights, whole, whole, ratio_error(part, whole))


def _difference(first: Statistic, second: Statistic, weights: Array) -> Array:
    return second(weights) - first(weights)


def _values(resampled: Resampled, key: str) -> Statistic:
    return lambda weights: resampled.values(key, weights)


def _compare(
    records: Records, pair: tuple[Resampled, Resampled], keys: tuple[str, ...], models: tuple[ScoreModel, ScoreModel]
) -> None:
    a, b = pair
    n = len(a.sample.patients)
    for key in keys:
        first, second = _values(a, key), _values(b, key)
        leverage, patches = measure_leverage(key, a.tallies), find_metric_patches(key, a.tallies)
        truth = compute_true_metric(models[1], key) - compute_true_metric(models[0], key)
        for options in (PERCENTILE, OPTIONS):
            low, high, _ = interval(
                partial(_difference, first, second),
                a.weights,
                leverage,
                options,
                n_patients=int(np.count_nonzero(patches)),
                signed=True,
            )
            records[key, n, options.interval].add(low, high, truth)


def _error(samples: int) -> float:
    return float(np.sqrt(0.95 * 0.05 / samples))


if __name__ == "__main__":
    main()
