"""Drift: how often deliveries like the training patients are called unlike them, and how surely shifts are seen.

    .venv/bin/python benchmarks/drift.py --data FOLDER    # prints the tables, fills docs/explanation/drift.md
    .venv/bin/python benchmarks/drift.py --data FOLDER --only alarms

False alarms: patients are drawn from those of the released model as a delivery, and compared with the others: their
pictures as admission measures them, their scores out of fold. Beside them stand the real deliveries, each against the
other four, and made-up hospitals, whose patients are independent of each other.

Power: the pixels of drawn patients are changed before they are measured, and the pictures alone are compared. What a
change costs is what the released recipe loses by it out of fold, as benchmarks/robustness.py measures it: this needs
what `benchmarks/released.py train` left in --folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from released_figures import compute
from released_training import HOSPITAL, PLACE, RECIPE, admit_deliveries, find_members, gather_scores, open_patients
from robustness import cross_fit_shifted, evaluate_shift, score_shifted
from shifts import Change, blur, brighten, compress, rescale, restain
from simulations import replace_section

from bcd.bundle.released import OUT_OF_FOLD, load_released, released_folder
from bcd.drift.measure import PICTURE, SCORE, measure_patches, measure_scores, name_stains
from bcd.drift.profiles import (
    MOST_PATCHES,
    Profile,
    Profiles,
    choose_evenly,
    find_patient_stains,
    profile_pictures,
    profile_scores,
)
from bcd.drift.state import FINE, UNTRUSTED, Known, assess_delivery, assess_slide
from bcd.errors import BcdError
from bcd.evaluation.calls import is_confident
from bcd.files import whole_file

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
PAGE, PICTURE_FILE = ROOT / "docs/explanation/drift.md", ROOT / "docs/images/drift-power.png"
SECTIONS = ("alarms", "power")

_LOSS = 0.02
_COVERAGE = 0.5  # of the usual
_ENOUGH = 0.9  # power
_SIZES = (10, 20, 40, 80)  # patients of a delivery

SHIFTS: dict[str, Change] = {
    **{f"stain {share:+.0%}": restain(share) for share in (-0.5, -0.4, -0.3, -0.2, 0.5, 0.7, 1.0)},
    **{f"brightness {amount:+d} of 255": brighten(amount) for amount in (-80, -60, -40, 20, 40, 60)},
    **{f"blur, sigma {sigma:g} px": blur(sigma) for sigma in (0.5, 0.7, 1.0, 1.3, 1.6)},
    **{f"JPEG {quality}": compress(quality) for quality in (95, 90, 75)},
    **{f"spacing {4 / factor:g} µm/px": rescale(factor) for factor in (0.5, 0.8, 1.25, 2.0)},
}
"""Changes of the pixels, of sizes around the one that costs .02 of AUROC."""


@dataclass(frozen=True)
class Patients:
    """The patients of the released model.

    Attributes:
        rows: Of each patient, the rows of the patches that are measured.
        natural: Of each patient, the rows of the natural sample.
        deliveries: The delivery that each came with.
        patches: Every patch, with label, logit and probability out of fold.
        pixels: Theirs, (n, 50, 50, 3).
        known: Their profiles as a bundle's record keeps them, patient i in row i.
    """

    rows: list[NDArray[np.int64]]
    natural: list[NDArray[np.int64]]
    deliveries: NDArray[np.str_]
    patches: pd.DataFrame
    pixels: NDArray[np.uint8]
    known: Known

    def natural_sample(self) -> pd.DataFrame:
        """Returns patient, x and y of the natural sample's patches."""
        return pd.DataFrame(self.patches[self.patches["natural"]], columns=PLACE)


@dataclass(frozen=True)
class Cost:
    """What a shift costs the released recipe, out of fold.

    Attributes:
        lost: Patient-macro AUROC that is lost.
        coverage: Share of patches that are confident at 95 %, as a share of what it is without the shift.
    """

    lost: float
    coverage: float

    @property
    def is_high(self) -> bool:
        """Whether the model is not worth relying on under the shift."""
        return self.lost >= _LOSS or self.coverage <= _COVERAGE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "batches", help="folder of the deliveries")
    parser.add_argument("--folder", type=Path, default=ROOT / "artifacts/released", help="where trainings are kept")
    parser.add_argument("--draws", type=int, default=5000, help="deliveries a row; a tenth of it for power")
    parser.add_argument("--hospitals", type=int, default=40, help="made-up hospitals of 50 patients")
    parser.add_argument("--only", choices=SECTIONS, help="this section alone")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown page whose sections are replaced")
    arguments = parser.parse_args()
    patients = read_patients(arguments.data, arguments.folder / "home")
    for section in [arguments.only] if arguments.only else SECTIONS:
        if section == "alarms":
            lines = tell_alarms(patients, arguments.draws, arguments.hospitals)
        else:
            costs = measure_costs(arguments.data, arguments.folder, patients.natural_sample())
            lines = tell_power(patients, costs, arguments.draws // 10)
        print("\n".join(lines), flush=True)
        page = replace_section(arguments.page.read_text("utf-8"), section, "\n".join(lines))
        with whole_file(arguments.page) as partial_page:
            partial_page.write_text(page, "utf-8")


def read_patients(data: Path, home: Path) -> Patients:
    """Admits the deliveries into a home of their own, and joins their patches with the out-of-fold scores."""
    from bcd.settings import load_settings
    from bcd.snapshots.freeze import preview_snapshot
    from bcd.store.batches import read_batch_pixels
    from bcd.store.store import open_store

    with open_store(load_settings(home)) as store:
        names = {batch: path.name for batch, path in admit_deliveries(store, data).items()}
        admitted = preview_snapshot(store)
        pixels = read_batch_pixels(store.settings, admitted)
    record = load_released().record
    scores = compute(pd.read_parquet(released_folder() / OUT_OF_FOLD), record.snapshot).scores
    patches = admitted.reset_index(names="at").merge(scores[[*PLACE, "logit", "probability", "natural"]], on=PLACE)
    patches = patches.sort_values("at", ignore_index=True)
    whose = [group.to_numpy() for _, group in patches.groupby("patient")["at"]]
    drawn = [group.to_numpy() for _, group in patches[patches["natural"]].groupby("patient")["at"]]
    return Patients(
        rows=[rows[choose_evenly(len(rows), MOST_PATCHES)] for rows in whose],
        natural=drawn,
        deliveries=np.array([names[patches["batch"].iloc[rows[0]]] for rows in whose]),
        patches=patches,
        pixels=pixels,
        known=Known(pictures=_keep_pictures(pixels, whose), scores=_keep_scores(patches, drawn)),
    )


def _keep_pictures(pixels: NDArray[np.uint8], whose: Sequence[NDArray[np.int64]]) -> Profiles:
    """Takes profiles as a record keeps them, and leaves them in the order of the patients."""
    values = measure_patches(pixels)
    stains = [name_stains(find_patient_stains(pixels[rows])) for rows in whose]
    return _in_order(
        list(PICTURE),
        [{name: float(values[name][rows].mean()) for name in PICTURE if name in values} for rows in whose],
        whose,
        {name: values[name] for name in PICTURE if name in values},
        stains,
    )


def _keep_scores(patches: pd.DataFrame, whose: Sequence[NDArray[np.int64]]) -> Profiles:
    means = [_profile_scores(patches, rows).means for rows in whose]
    values = measure_scores(patches["logit"], patches["probability"])
    return _in_order(list(SCORE), means, whose, values, [{} for _ in whose])


def _in_order(
    names: list[str],
    means: list[dict[str, float]],
    whose: Sequence[NDArray[np.int64]],
    values: dict[str, NDArray[np.float64]],
    whole: Sequence[dict[str, float]],
) -> Profiles:
    within = []
    for name in names:
        parts = [values[name][rows] - values[name][rows].mean() for rows in whose] if name in values else []
        free = sum(len(part) - 1 for part in parts)
        within.append(float(np.sqrt(sum(np.square(part).sum() for part in parts) / free)) if parts else 0.0)
    return Profiles(
        statistics=tuple(names),
        within=tuple(within),
        hospitals=(HOSPITAL,) * len(whose),
        patches=tuple(len(rows) for rows in whose),
        means=tuple(tuple((one | more).get(name) for name in names) for one, more in zip(means, whole, strict=True)),
    )


def tell_alarms(patients: Patients, draws: int, hospitals: int) -> list[str]:
    """Says how often deliveries and slides that nothing was done to are called unlike the others."""
    pictures = [profile_pictures(patients.pixels[rows]) for rows in patients.rows]
    scores = [_profile_scores(patients.patches, rows) for rows in patients.natural]
    lines = ["| deliveries drawn from | patients | drawn | more than fine | not to be trusted |", "| --- " * 5 + "|"]
    for size in (2, 5, 10, 20, 46):
        levels, members = draw_levels(patients.known, pictures, scores, size, draws, seed=size)
        spans = interval_by_patient([level != FINE for level in levels], members, len(pictures))
        lines.append(_tell_row(f"the {len(pictures)} real patients", size, levels, spans))
    levels, rates = draw_hospitals(hospitals, draws // hospitals)
    low, high = np.quantile(_resample(rates), (0.025, 0.975))
    lines.append(_tell_row(f"{hospitals} made-up hospitals", 10, levels, (low, float(np.mean(rates)), high)))
    lines += ["", "| real delivery, against the other four | patients | drift | p |", "| --- " * 4 + "|"]
    for name in np.unique(patients.deliveries):
        mine = np.flatnonzero(patients.deliveries == name)
        others = np.setdiff1d(np.arange(len(pictures)), mine)
        state = assess_delivery(
            _take(patients.known, others), HOSPITAL, [pictures[at] for at in mine], [scores[at] for at in mine]
        )
        lines.append(f"| {name} | {len(mine)} | {state.level} | {state.p:.3f} |")
    slides = _assess_slides(patients.known, pictures, scores)
    unlike, red = sum(level != FINE for level in slides), sum(level == UNTRUSTED for level in slides)
    lines += ["", f"Of the {len(slides)} real slides, each against the others, {unlike} were called unusual or more"]
    lines.append(
        f"({unlike / len(slides):.1%}; 2 % is the rate, pictures and scores together), {red} not to be trusted."
    )
    return lines


def _tell_row(of: str, size: int, levels: Sequence[str], spans: tuple[float, float, float]) -> str:
    low, rate, high = spans
    untrusted = _share(levels, lambda each: each == UNTRUSTED)
    row = f"| {of} | {size} | {len(levels):,} | {rate:.1%} [{low:.1%}, {high:.1%}] | {untrusted:.1%} |"
    print(row, flush=True)
    return row


def _assess_slides(known: Known, pictures: Sequence[Profile], scores: Sequence[Profile] | None = None) -> list[str]:
    """Returns the level of each patient as a slide, against the others."""
    every = np.arange(len(pictures))
    return [
        str(
            assess_slide(
                _take(known, every[every != at]), HOSPITAL, "5", pictures[at], scores[at] if scores else None
            ).level
        )
        for at in range(len(pictures))
    ]


def _profile_scores(patches: pd.DataFrame, rows: NDArray[np.int64]) -> Profile:
    found = patches.iloc[rows]
    return profile_scores(found["logit"], found["probability"])


def draw_levels(
    known: Known, pictures: Sequence[Profile], scores: Sequence[Profile], size: int, draws: int, *, seed: int
) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Draws patients as deliveries, and compares each with the others by the rule that bcd compares deliveries by.

    Args:
        known: Everybody as a bundle knows them, patient i in row i.
        pictures: A profile a patient.
        scores: A profile a patient; none: pictures alone, as at admission.
        size: Patients of a delivery.
        draws: Deliveries.
        seed: Of the draws.

    Returns:
        The level of each delivery, and its patients, by number.
    """
    random, levels, members = np.random.default_rng(seed), [], []
    for _ in range(draws):
        order = random.permutation(len(pictures))
        mine, others = order[:size], order[size:]
        told = [scores[at] for at in mine] if scores else []
        state = assess_delivery(_take(known, others), HOSPITAL, [pictures[at] for at in mine], told)
        levels.append(str(state.level))
        members.append(mine)
    return levels, members


def _take(known: Known, rows: NDArray[np.int64]) -> Known:
    chosen = rows.tolist()
    return Known(pictures=known.pictures.take(chosen), scores=known.scores.take(chosen))


def interval_by_patient(
    flags: Sequence[bool], members: Sequence[NDArray[np.int64]], patients: int
) -> tuple[float, float, float]:
    """Returns a rate over deliveries drawn from the same patients, between the ends of its 95 % interval.

    The draws share patients, so that they are no independent trials: the variance is that of a U-statistic, from how
    much oftener deliveries with a patient are flagged (Hoeffding 1948), beside that of the draws themselves.

    Args:
        flags: Whether each delivery was flagged.
        members: Its patients, by number.
        patients: How many there are to draw from.
    """
    flagged, size = np.asarray(flags, float), len(members[0])
    rate, noise = float(flagged.mean()), float(flagged.var())
    total, drawn = np.zeros(patients), np.zeros(patients)
    for flag, mine in zip(flagged, members, strict=True):
        total[mine] += flag
        drawn[mine] += 1
    seen = drawn > 0
    share = total[seen] / drawn[seen]
    between = max(float(share.var(ddof=1)) - noise * float((1 / drawn[seen]).mean()), 0.0)
    error = np.sqrt(size**2 * between / patients + noise / len(flagged))
    return max(rate - 1.96 * error, 0.0), rate, min(rate + 1.96 * error, 1.0)


def draw_hospitals(hospitals: int, draws: int) -> tuple[list[str], NDArray[np.float64]]:
    """Draws deliveries of ten patients from made-up hospitals, each of which has a bundle that knows the others.

    Args:
        hospitals: How many.
        draws: Deliveries of each.

    Returns:
        The level of each delivery, and of each hospital the share of deliveries that are more than fine.
    """
    every: list[str] = []
    rates = []
    for seed in range(hospitals):
        known, pictures, scores = make_hospital(seed)
        levels, _ = draw_levels(known, pictures, scores, 10, draws, seed=seed)
        every += levels
        rates.append(_share(levels, lambda each: each != FINE))
        print(f"made-up hospital {seed}: {rates[-1]:.1%} of {draws}", flush=True)
    return every, np.array(rates)


def make_hospital(seed: int, patients: int = 50) -> tuple[Known, list[Profile], list[Profile]]:
    """Makes a hospital up and scores it with the released model.

    Returns:
        Its patients as a bundle knows them, and as those of a delivery: pictures, scores.
    """
    from bcd.synthetic.hospital import draw_patches
    from bcd.synthetic.options import HospitalOptions
    from bcd.synthetic.patient import draw_synthetic_patients

    options = HospitalOptions(seed=seed, patients=patients, large_patients=0, small_patches=12)
    drawn, whose = [], []
    for patient, patches in draw_patches(draw_synthetic_patients(options)):
        whole = [patch.pixels for patch in patches if patch.pixels.shape == (50, 50, 3)]
        drawn += whole
        whose += [patient.id] * len(whole)
    pixels, code = np.stack(drawn), np.unique(whose, return_inverse=True)[1]
    rows = [np.flatnonzero(code == number) for number in range(code.max() + 1)]
    scored = load_released().score(pixels)
    known = Known(pictures=_keep_pictures(pixels, rows), scores=_keep_scores(scored, rows))
    return known, [profile_pictures(pixels[each]) for each in rows], [_profile_scores(scored, each) for each in rows]


def _resample(rates: NDArray[np.float64], resamples: int = 2000) -> NDArray[np.float64]:
    """Draws hospitals with replacement and returns the mean rate of each draw."""
    random = np.random.default_rng(0)
    return np.asarray(rates[random.integers(0, len(rates), (resamples, len(rates)))].mean(1))


def tell_power(patients: Patients, costs: dict[str, Cost], draws: int) -> list[str]:
    """Says what each shift costs, and how surely a delivery of ten patients with it is called unlike the others."""
    lines = [
        "| shift | AUROC lost | coverage at 95 %, of the usual | seen | not to be trusted | patients for 90 %"
        " | one slide: seen | not to be trusted |",
        "| --- " * 8 + "|",
    ]
    drawn = []
    for name, change in SHIFTS.items():
        shifted = [profile_pictures(_shift(patients.pixels[rows], change)) for rows in patients.rows]
        levels, _ = draw_levels(patients.known, shifted, [], 10, draws, seed=10)
        seen, untrusted = (
            _share(levels, counts) for counts in (lambda each: each != FINE, lambda each: each == UNTRUSTED)
        )
        needed = next(_sizes_that_suffice(patients.known, shifted, seen, draws), f"> {_SIZES[-1]}")
        cost = costs[name]
        drawn.append((name, cost, seen, untrusted))
        mark = "**" if cost.is_high else ""
        slides = _assess_slides(patients.known, shifted)
        alone = [_share(slides, counts) for counts in (lambda each: each != FINE, lambda each: each == UNTRUSTED)]
        cells = [f"{mark}{cost.lost:+.3f}{mark}", f"{cost.coverage:.0%}", f"{seen:.0%}", f"{untrusted:.0%}", needed]
        lines.append(f"| {name} | {' | '.join(cells)} | {alone[0]:.0%} | {alone[1]:.0%} |")
        print(lines[-1], flush=True)
    lines += [
        "",
        f"Bold: costs at least {_LOSS:g} of AUROC, or half of the coverage. {draws} draws of ten patients each.",
    ]
    draw_power(drawn, PICTURE_FILE)
    return lines


def _sizes_that_suffice(known: Known, shifted: Sequence[Profile], at_ten: float, draws: int) -> Iterator[str]:
    """Yields the sizes of deliveries, ascending, of which the shift is seen often enough."""
    for size in _SIZES:
        levels = [] if size == 10 else draw_levels(known, shifted, [], size, draws, seed=size)[0]
        if (at_ten if size == 10 else _share(levels, lambda each: each != FINE)) >= _ENOUGH:
            yield str(size)


def _share(levels: Sequence[str], counts: Callable[[str], bool]) -> float:
    return float(np.mean([counts(level) for level in levels]))


def _shift(pixels: NDArray[np.uint8], change: Change) -> NDArray[np.uint8]:
    return np.stack([change(patch) for patch in pixels])


def measure_costs(data: Path, folder: Path, natural: pd.DataFrame) -> dict[str, Cost]:
    """Scores the shifted natural sample out of fold, or finds it scored.

    Args:
        data: Folder of the deliveries.
        folder: Where trainings are kept.
        natural: patient, x and y of the natural sample.

    Raises:
        BcdError: There are no trainings.
    """
    members = len(find_members(folder))
    if not members:
        raise BcdError(f"{folder} holds no member that is finished.", "Train first: benchmarks/released.py train.")
    patients, scores = open_patients(data, folder / "home", RECIPE), gather_scores(folder, members, natural)
    costs = {}
    for name, change in SHIFTS.items():
        logit = score_shifted(patients, RECIPE, folder, scores, name, change=change)
        usual, shifted = (is_confident(each["probability"], 0.95).mean() for each in cross_fit_shifted(scores, logit))
        costs[name] = Cost(evaluate_shift(scores, name, logit).loss, float(shifted / usual))
        print(f"{name}: AUROC lost {costs[name].lost:+.4f}, coverage {costs[name].coverage:.3f}", flush=True)
    return costs


def draw_power(drawn: Sequence[tuple[str, Cost, float, float]], path: Path) -> None:
    """Draws, for each shift, how often a delivery of ten patients is seen, and how often not trusted."""
    from bcd.charts import BLUE, INK, MUTED, ORANGE, page

    note = "Deliveries of ten real patients with each shift; a star costs .02 of AUROC or half the coverage"
    with page(path, title="What drift is seen", note=note, size=(7.6, 0.4 + 0.24 * len(drawn))) as figure:
        axes = figure.subplots()
        for at, (_, _, seen, untrusted) in enumerate(drawn):
            axes.hlines(at, untrusted, seen, color=MUTED, linewidth=1)
        axes.plot([each[2] for each in drawn], range(len(drawn)), "o", color=BLUE, label="more than fine")
        axes.plot([each[3] for each in drawn], range(len(drawn)), "D", color=ORANGE, label="not to be trusted")
        axes.axvline(_ENOUGH, color=MUTED, linewidth=0.8, linestyle="--")
        names = [f"{name}{' *' if cost.is_high else ''}" for name, cost, _, _ in drawn]
        axes.set_yticks(range(len(drawn)), names, color=INK)
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel("share of deliveries")
        axes.legend(loc="lower left")


if __name__ == "__main__":
    main()
