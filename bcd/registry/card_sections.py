"""What a model card says, section by section: text and tables that Markdown and HTML both show.

A card names no patient: it is handed around with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bcd.evaluation.policy_tables import certified_table
from bcd.evaluation.report import Evaluation
from bcd.evaluation.tables import METRIC_NAMES, Table, describe, format_estimate, format_level, threshold_rows
from bcd.patches import MICRONS_PER_PIXEL
from bcd.registry.card_facts import CardFacts, Compute
from bcd.registry.record import BundleRecord
from bcd.store.snapshot_counts import count_by
from bcd.training.ensemble import describe_ensemble

USE = "Research use only: not a medical device, not for diagnosis."

INTENDED = (
    "Finds invasive ductal carcinoma (IDC) in 50x50 RGB patches of haematoxylin-and-eosin stained breast tissue at "
    f"about {MICRONS_PER_PIXEL:g} µm/px: a calibrated probability a patch, and at each confidence level whether the "
    "patch is decided or left open.",
    "For researchers and engineers who study patch classification, and for pathologists who judge such studies.",
    "Not for: a diagnosis or any decision about a patient; a yes or no for a patient, for which nothing here was "
    "validated; other tissue, stains, scanners or magnifications than those that it was trained on, unless "
    "it is judged on them first.",
)

MACHINE_WATTS, GPU_WATTS = 100, 500
"""Assumed draw of a machine at work, and of one GPU at work in it besides."""

LOW = 0.7
"""An accuracy below which a card counts a patient as badly judged."""

KG_PER_KWH = 0.48
"""Assumed CO2e of electricity: about the world's average of 2023 (Ember, Global Electricity Review 2024)."""


@dataclass(frozen=True)
class Section:
    """A part of a card: paragraphs, then points, then a table."""

    title: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    table: Table | None = None


def make_sections(facts: CardFacts) -> list[Section]:
    """Makes the sections of a card, in their order."""
    sections = [
        Section("Intended use", [USE, *INTENDED]),
        _limits(facts),
        _data(facts),
        *_hospitals(facts),
        _model(facts),
        *([] if facts.evaluation is None else _results(facts.evaluation)),
    ]
    if facts.record.policy.certified:
        sections.append(Section("Thresholds by target error", table=certified_table(facts.record.policy.certified)))
    return [*sections, _compute(facts.compute), _provenance(facts)]


def describe_data(facts: CardFacts) -> str:
    """Says in one sentence what the networks were trained on."""
    if facts.snapshot is None:
        return f"Trained on snapshot {facts.record.snapshot[:12]}, which the store no longer has."
    train = facts.snapshot.counts().loc["train"].to_dict()
    hospitals = facts.snapshot.of("train")["hospital"].nunique()
    return (
        f"Trained on {train['patches']:,} patches of {train['patients']} patients of "
        f"{_count(hospitals, 'hospital')}, {_share(train['positive'], train['patches'])} IDC; "
        f"splits by patient ({facts.record.protocol})."
    )


def list_limits(facts: CardFacts) -> list[str]:
    """Says what the figures do not show, and for whom the bundle was shown to do badly."""
    limits = ["Patches are judged one by one: no architecture of the tissue beyond 200 µm is seen."]
    if facts.snapshot is not None and (hospitals := facts.snapshot.patches["hospital"].nunique()) < 3:
        limits.append(
            f"All patients come from {_count(hospitals, 'hospital')}: how it does elsewhere, with another stain or "
            "scanner, is not known."
        )
    evaluation = facts.evaluation
    if evaluation is None:
        return [
            *limits,
            "It was not judged on test patients: nothing is known of how it does on patients it never saw.",
        ]
    limits.append(
        f"The test rests on {evaluation.n_patients} patients, of whom the largest has "
        f"{100 * evaluation.largest_patches / evaluation.n_patches:.0f} % of the patches: as much evidence as "
        f"{evaluation.effective_patients:.1f} patients of equal size. Patches of a patient resemble each other; "
        "intervals by patch would be far too narrow."
    )
    without = sum(row.positive == 0 for row in evaluation.per_patient)
    if without < evaluation.options.min_patients:
        limits.append(
            f"Only {without} of the {evaluation.n_patients} test patients "
            f"{'is' if without == 1 else 'are'} without any IDC patch: too few to say how often IDC would be "
            "found in such a patient."
        )
    limits += _worst(evaluation)
    unsure = [row for row in evaluation.thresholds if row.accuracy.value is None]
    if unsure:
        levels = ", ".join(format_level(row.level) for row in unsure)
        limits.append(f"Too few test patches or patients are decided at {levels} to give a rate.")
    missing = [row for row in facts.record.policy.certified if row.threshold is None]
    if missing:
        targets = ", ".join(format_level(row.target_error) for row in missing)
        limits.append(
            f"No threshold could be certified for a target error of {targets} with the val patients there were."
        )
    return limits


def _limits(facts: CardFacts) -> Section:
    return Section("Limits", points=list_limits(facts))


def _worst(evaluation: Evaluation) -> list[str]:
    if not evaluation.worst:
        return []
    least = evaluation.options.min_patches
    judged = [row.accuracy for row in evaluation.per_patient if row.patches >= least]
    worst, below = evaluation.worst[0].accuracy, sum(each < LOW for each in judged)
    return [
        f"Patients differ: of the {len(judged)} test patients with at least {least} patches, the worst has an "
        f"accuracy of {100 * worst:.0f} %, and {below} have less than {100 * LOW:.0f} %."
    ]


def _data(facts: CardFacts) -> Section:
    snapshot = facts.snapshot
    text = [describe_data(facts)]
    if snapshot is None:
        return Section("Data", text)
    text.append(
        f"Snapshot {snapshot.id}, frozen from {_count(len(snapshot.batches), 'batch', 'es')}: "
        f"{', '.join(batch[:12] for batch in snapshot.batches)}. Train patients are learned from; val patients "
        "choose the epoch and fit the calibrator; gate patients decide on promotion; test patients are only reported."
    )
    text += [
        f"Left out: {count['patches']:,} patches of {count['patients']} patients ({reason})."
        for reason, count in snapshot.left_out.items()
        if count["patches"]
    ]
    counts = snapshot.counts()
    rows = [
        [str(split), f"{row['patients']:,}", f"{row['patches']:,}", _share(row["positive"], row["patches"])]
        for split, row in counts.iterrows()
    ]
    return Section("Data", text, table=Table("", ["split", "patients", "patches", "IDC"], rows))


def _hospitals(facts: CardFacts) -> list[Section]:
    if facts.snapshot is None or facts.snapshot.patches["hospital"].nunique() < 2:
        return []
    rows = [
        [str(hospital), f"{row['patients']:,}", f"{row['patches']:,}", _share(row["positive"], row["patches"])]
        for hospital, row in count_by(facts.snapshot.patches, "hospital").iterrows()
    ]
    return [Section("Hospitals", table=Table("", ["hospital", "patients", "patches", "IDC"], rows))]


def _model(facts: CardFacts) -> Section:
    record, compute = facts.record, facts.compute
    options, calibrator = record.training, record.policy.calibrator
    parameters = "" if compute.parameters is None else f", {compute.parameters:,} weights"
    steps = [name for name, used in _steps(record).items() if used]
    points = [
        f"Network: {describe_ensemble(record.architecture, record.ensemble)}{parameters}. {facts.note}".strip(),
        f"Preparation, the same wherever it is used: {', '.join(steps) or 'none'}.",
        f"Training: at most {options.epochs} epochs of {options.batch_size} patches a step, learning rate "
        f"{options.learning_rate:g}, seed {options.seed}; flips, turns, and jitter of stain and light.",
        f"Probability = 1 / (1 + exp(-({calibrator.slope:.3f} · logit {calibrator.intercept:+.3f}))), fitted on val "
        "patients. A patch is called IDC at one half, and is decided at a level where the probability of its "
        "likelier class reaches it.",
    ]
    return Section("Model", points=points)


def _steps(record: BundleRecord) -> dict[str, bool]:
    preparation = record.preparation
    return {
        f"stain normalised ({preparation.stain})": preparation.stain != "none",
        "sharpened with the 3x3 kernel of the founding work": preparation.sharpen,
    }


def _results(evaluation: Evaluation) -> list[Section]:
    rows = [
        [METRIC_NAMES[name], format_estimate(estimate), format_estimate(evaluation.patient_macro[name])]
        for name, estimate in evaluation.pooled.items()
    ]
    metrics = Table(describe(evaluation), ["metric", "all patches (pooled)", "mean over patients"], rows)
    return [
        Section("Results on test patients", table=metrics),
        Section("What is decided at which confidence", table=threshold_rows(evaluation)),
    ]


def _compute(compute: Compute) -> Section:
    hours = (compute.training_hours or 0.0) + compute.search_hours
    watts = MACHINE_WATTS + (GPU_WATTS if compute.device.lower().startswith(("gpu", "cuda")) else 0)
    energy = hours * watts / 1000
    trained = (
        "The run does not say how long training took"
        if compute.training_hours is None
        else f"Training took {_hours(compute.training_hours)} on {compute.device}"
    )
    search = (
        f", and {_count(compute.trials, 'trial')} of a search {_hours(compute.search_hours)}"
        if compute.trials
        else ""
    )
    estimate = (
        f"That is about {energy:.2g} kWh and {energy * KG_PER_KWH:.2g} kg CO2e, if the machine draws {watts} W at "
        f"work and a kWh makes {KG_PER_KWH:g} kg CO2e: both are assumptions, nothing was measured."
    )
    return Section("Compute and carbon", [f"{trained}{search}.", *([estimate] if hours else [])])


def _provenance(facts: CardFacts) -> Section:
    record = facts.record
    versions = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    points = [
        f"Made {record.created_at:%Y-%m-%d %H:%M} UTC in run {facts.run}.",
        f"Code: commit {record.git}." if record.git else "Code: no commit is known.",
        f"Versions: {versions}.",
    ]
    return Section("Where it comes from", points=points)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "n/a"


def _count(n: int, noun: str, plural: str = "s") -> str:
    return f"{n} {noun}{'' if n == 1 else plural}"


def _hours(hours: float) -> str:
    return f"{60 * hours:.0f} minutes" if hours < 2 else f"{hours:.1f} hours"
