"""Whether calibrators and certified thresholds do what is said of them, on made-up hospitals whose truth is known.

Every hospital has patients of the real set's sizes and effects of its own on each of them. What a policy promises is
checked on all other patients of the same kind, by integration over their effects and not by drawing them.

    .venv/bin/python benchmarks/simulations_thresholds.py --hospitals 100
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from calibrations import FITS
from made_scores import PATIENT_SIZES, ScoredPatches, ScoreModel, draw_patches

from bcd.evaluation.calls import is_confident, is_idc
from bcd.evaluation.metrics.intervals import draw_resamples
from bcd.evaluation.metrics.metrics import make_estimate
from bcd.evaluation.metrics.risk_coverage import make_confidence_steps
from bcd.evaluation.metrics.sample import Sample
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import Calibrator, fit_calibrator
from bcd.evaluation.policy.certified import shares
from bcd.evaluation.policy.policy import fit_policy
from bcd.evaluation.report.tables import Table

OPTIONS = EvaluateOptions()
NETWORK = ScoreModel(slope=0.7, intercept=0.5)
WORLDS = {
    "as the published networks": NETWORK,
    "patients twice as different": replace(NETWORK, patient_sd=1.0, slope_sd=0.4),
    "a stronger network": replace(NETWORK, separation=4.0),
}
LEVELS = (*np.linspace(0.5, 0.99, 50), 0.995, 0.999, 1.0)
POPULATION = 3000  # patients that stand for all where patches are drawn
NODES = 14  # two to this power: patients that stand for all where they are integrated over


@dataclass(frozen=True)
class Confident:
    """What a threshold does: mean over patients of the error, pooled error, coverage."""

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
        calibrations(max(hospitals // 4, 1)),
        areas(hospitals),
    ]
    return "\n".join(table.markdown() for table in tables)


def certificates(hospitals: int) -> Table:
    """Certifies thresholds on val patients of many hospitals, and sees what they do to everybody else."""
    header = ["hospitals", "val patients", "target", "certified", "promise broken", "by the mean instead"]
    header += ["pooled above target", "true error", "confident", "confident at best"]
    rows = []
    for name, model in WORLDS.items():
        everybody = Everybody(model)
        best = Calibrator(slope=model.slope, intercept=model.intercept)
        known = {level: everybody.evaluate(best, level) for level in LEVELS}
        for n_patients in (80, 150, 300, 600) if model is NETWORK else (80, 150, 300):
            found = list(_certify_many(everybody, n_patients, hospitals))
            for target in OPTIONS.target_errors:
                mine = [(confident, careless) for at, confident, careless in found if at == target]
                promised = [confident for confident, _ in mine if confident is not None]
                rows.append(
                    [
                        name,
                        str(n_patients),
                        _percent(target),
                        _percent(len(promised) / hospitals),
                        _percent(sum(confident.error > target for confident in promised) / hospitals, 1),
                        _percent(sum(careless.error > target for _, careless in mine) / hospitals),
                        _percent(sum(confident.pooled > target for confident in promised) / hospitals, 1),
                        _percent(float(np.mean([confident.error for confident in promised])), 2) if promised else "",
                        _percent(float(np.mean([confident.coverage for confident in promised]))) if promised else "",
                        _percent(_loosest(known, target)[1].coverage),
                    ]
                )
    return Table(f"Certified thresholds in {hospitals} hospitals of each kind and size.", header, rows)


def _certify_many(
    everybody: Everybody, n_patients: int, hospitals: int
) -> Iterator[tuple[float, Confident | None, Confident]]:
    """Yields each target, what its certified threshold does, and what the one chosen by the mean does."""
    for seed in range(hospitals):
        val = _draw(everybody.model, n_patients, seed)
        policy = fit_policy(val.logit, val.label, val.patient, OPTIONS)
        p = policy.calibrator.apply(val.logit)
        own = {level: _evaluate(val, p, level) for level in LEVELS}
        for row in policy.certified:
            careless, _ = _loosest(own, row.target_error)
            yield (
                row.target_error,
                None if row.threshold is None else everybody.evaluate(policy.calibrator, row.threshold),
                everybody.evaluate(policy.calibrator, careless),
            )


class Everybody:
    """All patients of a model, each with the chances of what happens to a patch of it."""

    def __init__(self, model: ScoreModel) -> None:
        from scipy.stats import norm, qmc

        nodes = norm.ppf(qmc.Sobol(3, seed=1).random_base2(NODES))
        self.model = model
        self.slope = np.exp(model.slope_sd * nodes[:, 0])
        self.shift = model.patient_sd * nodes[:, 1]
        self.prevalence = 1 / (1 + (1 / model.prevalence - 1) * np.exp(-model.prevalence_sd * nodes[:, 2]))
        # The chance that a patient has a confident patch, by the chance of a patch.
        self.chance = np.linspace(0, 1, 2001) ** 2
        none = (1 - self.chance[:, None]) ** np.array(PATIENT_SIZES)
        self.anything = 1 - none.mean(axis=1)

    def evaluate(self, calibrator: Calibrator, level: float) -> Confident:
        """Returns what a threshold on calibrated probabilities does to all patients."""
        from scipy.special import logit, ndtr

        if level >= 1:
            return Confident(0.0, 0.0, 0.0)
        cuts = (np.array([-1, 1]) * logit(level) - calibrator.intercept) / calibrator.slope
        start, per_unit = self.model.logit(np.zeros(1)), np.diff(self.model.logit(np.arange(2.0)))
        below, above = (cuts - start) / per_unit
        called = {}
        for side in (1, 0):
            middle = self.slope * self.model.separation * (side - 0.5) + self.shift
            called[side] = ndtr((below - middle) / self.slope), ndtr((middle - above) / self.slope)
        wrong = self.prevalence * called[1][0] + (1 - self.prevalence) * called[0][1]
        confident = wrong + self.prevalence * called[1][1] + (1 - self.prevalence) * called[0][0]
        present = np.interp(confident, self.chance, self.anything)
        # Of a patient's confident patches, each patch has the same chance to be wrong, however many there are.
        share = np.divide(wrong, confident, out=np.zeros_like(confident), where=confident > 0)
        return Confident(
            float(share @ present / present.sum()), float(wrong.sum() / confident.sum()), float(confident.mean())
        )


def _evaluate(patches: ScoredPatches, p: np.ndarray, level: float) -> Confident:
    confident = is_confident(p, level)
    wrong = confident & (is_idc(p) != (patches.label == 1))
    size = patches.patient[-1] + 1
    counts = [np.bincount(patches.patient[which], minlength=size).astype(np.float64) for which in (wrong, confident)]
    share = shares(*counts)
    if not len(share):
        return Confident(0.0, 0.0, 0.0)
    return Confident(float(share.mean()), float(wrong.sum() / confident.sum()), float(confident.mean()))


def _loosest(levels: dict[float, Confident], target: float) -> tuple[float, Confident]:
    return next((level, confident) for level, confident in levels.items() if confident.error <= target)


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


def calibrations(hospitals: int, sizes: tuple[int, ...] = (15, 29, 49, 150, 300)) -> Table:
    """Fits every kind of calibration and measures its log loss on everybody else."""
    population = _draw(NETWORK, POPULATION, seed=10**6)
    rows = []
    for n_patients in sizes:
        losses: dict[str, list[float]] = {kind: [] for kind in FITS}
        for seed in range(hospitals):
            val = _draw(NETWORK, n_patients, seed)
            for kind, fit in FITS.items():
                p = fit(val.logit, val.label)(population.logit)
                losses[kind].append(-np.log(np.where(population.label == 1, p, 1 - p)).mean())
        rows.append([str(n_patients), *(f"{np.mean(each):.4f}" for each in losses.values())])
    caption = f"Mean log loss on new patients, over {hospitals} hospitals; less is better."
    return Table(caption, ["val patients", *FITS], rows)


def areas(hospitals: int, sizes: tuple[int, ...] = (29, 49, 150)) -> Table:
    """Counts how often the intervals of AURC and AUGRC hold the truth."""
    model = replace(NETWORK, slope=1.0, intercept=0.0)
    everybody = make_confidence_steps(_sample(_draw(model, 4 * POPULATION, seed=10**6)))
    rows = []
    for n_patients in sizes:
        weights = draw_resamples(n_patients, OPTIONS)
        cells = [str(n_patients)]
        samples = [_sample(_draw(model, n_patients, seed)) for seed in range(hospitals)]
        for area in ("aurc", "augrc"):
            truth = getattr(everybody, area)(np.ones((1, len(everybody.confident))))[0]
            found = [
                make_estimate(getattr(make_confidence_steps(s), area), weights, s.sizes.astype(np.float64), OPTIONS)
                for s in samples
            ]
            held = [e.low <= truth <= e.high for e in found if e.low is not None and e.high is not None]
            cells += [
                f"{sum(held) / hospitals:.3f}",
                f"{np.mean([e.high - e.low for e in found if e.low is not None and e.high is not None]):.4f}",
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
