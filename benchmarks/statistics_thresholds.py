"""Whether calibrators and certified thresholds do what is said of them, on made-up hospitals whose truth is known.

Every hospital has patients of the real set's sizes and effects of its own on each of them. What a policy promises is
checked on thousands of other patients of the same kind.

    .venv/bin/python benchmarks/statistics_thresholds.py --hospitals 100
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bcd.evaluation.alternatives import FITS
from bcd.evaluation.bootstrap import draw_resamples
from bcd.evaluation.calibration import fit_calibrator
from bcd.evaluation.certified import shares
from bcd.evaluation.metrics import make_estimate
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy import fit_policy, is_confident, is_idc
from bcd.evaluation.policy_tables import CALIBRATION_NAMES
from bcd.evaluation.sample import Sample
from bcd.evaluation.selective import make_steps
from bcd.evaluation.tables import Table
from bcd.synthetic.scores import ScoredPatches, ScoreModel, draw_patches

OPTIONS = EvaluateOptions()
NETWORK = ScoreModel(slope=0.7, intercept=0.5)
WORLDS = {
    "as the published networks": NETWORK,
    "patients twice as different": replace(NETWORK, patient_sd=1.0, slope_sd=0.4),
    "a stronger network": replace(NETWORK, separation=4.0),
}
POPULATION = 3000  # patients that stand for all


@dataclass(frozen=True)
class Kept:
    """What a threshold does to the population: mean over patients of the error, pooled error, coverage."""

    error: float
    pooled: float
    coverage: float


def main() -> None:
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", type=int, default=100, help="hospitals of each kind and size (default 100)")
    print(report(parser.parse_args().hospitals))


def report(hospitals: int = 100) -> str:
    """Runs every simulation and returns the tables in Markdown."""
    tables = [
        certificates(hospitals),
        recovery(hospitals),
        alternatives(max(hospitals // 4, 1)),
        areas(hospitals),
    ]
    return "\n".join(table.markdown() for table in tables)


def certificates(hospitals: int) -> Table:
    """Certifies thresholds on val patients of many hospitals, and sees what they do to everybody else."""
    header = ["hospitals", "val patients", "target", "certified", "promise broken", "by the mean instead"]
    header += ["pooled above target", "true error", "kept", "kept at best"]
    rows = []
    for name, model in WORLDS.items():
        population = _draw(model, POPULATION, seed=10**6)
        best = {target: _best(model, population, target).coverage for target in OPTIONS.target_errors}
        for n_patients in (80, 150, 300, 600) if model is NETWORK else (80, 150, 300):
            found = list(_certify_many(model, population, n_patients, hospitals))
            for target in OPTIONS.target_errors:
                mine = [(kept, careless) for at, kept, careless in found if at == target]
                promised = [kept for kept, _ in mine if kept is not None]
                rows.append(
                    [
                        name,
                        str(n_patients),
                        _percent(target),
                        _percent(len(promised) / hospitals),
                        _percent(sum(kept.error > target for kept in promised) / hospitals, 1),
                        _percent(sum(careless.error > target for _, careless in mine) / hospitals),
                        _percent(sum(kept.pooled > target for kept in promised) / hospitals, 1),
                        _percent(np.mean([kept.error for kept in promised]), 2) if promised else "",
                        _percent(np.mean([kept.coverage for kept in promised])) if promised else "",
                        _percent(best[target]),
                    ]
                )
    return Table(f"Certified thresholds in {hospitals} hospitals of each kind and size.", header, rows)


def _certify_many(
    model: ScoreModel, population: ScoredPatches, n_patients: int, hospitals: int
) -> Iterator[tuple[float, Kept | None, Kept]]:
    """Yields each target, what its certified threshold does, and what the one chosen by the mean does."""
    for seed in range(hospitals):
        val = _draw(model, n_patients, seed)
        policy = fit_policy(val.logit, val.label, val.patient, OPTIONS)
        own = _judge_levels(val, policy.calibrator.apply(val.logit))
        p = policy.calibrator.apply(population.logit)
        for row in policy.certified:
            careless = next(level for level, kept in own.items() if kept.error <= row.target_error)
            threshold = row.threshold
            yield (
                row.target_error,
                None if threshold is None else _judge(population, p, threshold),
                _judge(population, p, careless),
            )


def _judge_levels(patches: ScoredPatches, p: np.ndarray) -> dict[float, Kept]:
    return {level: _judge(patches, p, level) for level in [*np.linspace(0.5, 0.99, 50), 0.995, 0.999, 1.0]}


def _judge(patches: ScoredPatches, p: np.ndarray, level: float) -> Kept:
    kept = is_confident(p, level)
    wrong = kept & (is_idc(p) != (patches.label == 1))
    size = patches.patient[-1] + 1
    counts = [np.bincount(patches.patient[which], minlength=size).astype(np.float64) for which in (wrong, kept)]
    share = shares(*counts)
    if not len(share):
        return Kept(0.0, 0.0, 0.0)
    return Kept(float(share.mean()), float(wrong.sum() / kept.sum()), float(kept.mean()))


def _best(model: ScoreModel, population: ScoredPatches, target: float) -> Kept:
    p = 1 / (1 + np.exp(-(model.slope * population.logit + model.intercept)))
    fine = [*np.linspace(0.5, 0.98, 97), *np.linspace(0.981, 0.999, 19)]
    return next(kept for level in fine if (kept := _judge(population, p, level)).error <= target)


def recovery(hospitals: int, sizes: tuple[int, ...] = (15, 29, 49, 150, 300)) -> Table:
    """Fits the calibrator where slope and intercept are known exactly: patients who differ in prevalence only."""
    model = replace(NETWORK, patient_sd=0.0, slope_sd=0.0)
    rows = []
    for n_patients in sizes:
        drawn = (_draw(model, n_patients, seed) for seed in range(hospitals))
        fits = np.array([(c.slope, c.intercept) for d in drawn for c in [fit_calibrator(d.logit, d.label)]])
        means, spreads = fits.mean(axis=0), fits.std(axis=0)
        rows.append([str(n_patients), *(f"{m:.3f} ± {s:.3f}" for m, s in zip(means, spreads, strict=True))])
    caption = f"The calibrator in {hospitals} hospitals: mean and standard deviation of what it finds."
    return Table(caption, ["val patients", f"slope ({model.slope})", f"intercept ({model.intercept})"], rows)


def alternatives(hospitals: int, sizes: tuple[int, ...] = (15, 29, 49, 150, 300)) -> Table:
    """Fits every kind of calibration and measures its log loss on everybody else."""
    population = _draw(NETWORK, POPULATION, seed=10**6)
    rows = []
    for n_patients in sizes:
        losses = {kind: [] for kind in FITS}
        for seed in range(hospitals):
            val = _draw(NETWORK, n_patients, seed)
            for kind, fit in FITS.items():
                p = fit(val.logit, val.label).apply(population.logit)
                losses[kind].append(-np.log(np.where(population.label == 1, p, 1 - p)).mean())
        rows.append([str(n_patients), *(f"{np.mean(each):.4f}" for each in losses.values())])
    caption = f"Mean log loss on new patients, over {hospitals} hospitals; less is better."
    return Table(caption, ["val patients", *(CALIBRATION_NAMES[kind] for kind in FITS)], rows)


def areas(hospitals: int, sizes: tuple[int, ...] = (29, 49, 150)) -> Table:
    """Counts how often the intervals of AURC and AUGRC hold the truth."""
    model = replace(NETWORK, slope=1.0, intercept=0.0)
    everybody = make_steps(_sample(_draw(model, 4 * POPULATION, seed=10**6)))
    rows = []
    for n_patients in sizes:
        weights = draw_resamples(n_patients, OPTIONS)
        cells = [str(n_patients)]
        samples = [_sample(_draw(model, n_patients, seed)) for seed in range(hospitals)]
        for area in ("aurc", "augrc"):
            truth = getattr(everybody, area)(np.ones((1, len(everybody.kept))))[0]
            found = [make_estimate(getattr(make_steps(s), area), weights, s.sizes, OPTIONS) for s in samples]
            held = [e.low <= truth <= e.high for e in found if e.low is not None and e.high is not None]
            cells += [
                f"{sum(held) / hospitals:.3f}",
                f"{np.mean([e.high - e.low for e in found if e.low is not None]):.4f}",
            ]
        rows.append(cells)
    header = ["patients", "AURC held", "mean width", "AUGRC held", "mean width"]
    return Table(f"How often a 95 % interval holds the truth, in {hospitals} hospitals.", header, rows)


def _draw(model: ScoreModel, n_patients: int, seed: int) -> ScoredPatches:
    return draw_patches(model, n_patients, np.random.default_rng((seed, n_patients)))


def _sample(patches: ScoredPatches) -> Sample:
    names = [("made-up", str(number)) for number in range(patches.patient[-1] + 1)]
    return Sample(patches.label == 1, patches.probability, patches.patient, names)


def _percent(share: float, decimals: int = 0) -> str:
    return f"{100 * share:.{decimals}f} %"


if __name__ == "__main__":
    main()
