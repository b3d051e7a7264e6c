"""What a model card says, section by section: text and tables that Markdown and HTML both show.

A card names no patient: it is handed around with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bcd.bundle.card.facts import CardFacts
from bcd.bundle.record import BundleRecord
from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.policy.context import Context
from bcd.evaluation.report.sections import (
    certified_policy_table,
    context_table,
    context_threshold_table,
    subgroup_part_table,
)
from bcd.evaluation.report.tables import (
    METRIC_NAMES,
    Table,
    certified_threshold_table,
    describe_evaluation,
    threshold_parts,
)
from bcd.formats import format_count, format_estimate, format_level, format_share, format_signed
from bcd.patches import MICRONS_PER_PIXEL
from bcd.snapshots.snapshot import count_snapshot_by
from bcd.training.ensemble import describe_ensemble

if TYPE_CHECKING:
    import pandas as pd

_SPLITS = (
    "Train patients are learned from; val patients choose the epoch and fit calibrator and thresholds; gate patients "
    "decide on promotion; test patients are only reported. A patient is dealt once, and no patient and no identical "
    "pixels are in two splits."
)

_PROTOCOLS = {
    "dealt": "Every patient is dealt by a keyed hash to the split furthest below its share.",
    "cruz-roa-2014": "Train, val and test are the published lists of Cruz-Roa et al. (2014); patients on none of "
    "them are the gate split.",
    "cruz-roa-2014-dev": "The published test patients of Cruz-Roa et al. (2014) are kept out and the published val "
    "patients are the test split; the others are dealt to train, val and gate.",
    "leave-one-hospital-out": "All patients of one hospital are the test split; those of the others are dealt to "
    "train, val and gate.",
}

_INTERVALS = {
    "jackknife": "by leaving out one patient after another",
    "percentile": "by resampling patients, which is too narrow for few of them",
}

_NAMED = 3  # hospitals that are named in the sentence; more are in the table only


@dataclass(frozen=True)
class Section:
    """A part of a card: paragraphs, then points, then tables."""

    title: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    tables: Sequence[Table] = ()


def describe_data(facts: CardFacts) -> str:
    """Says in one sentence what the networks were trained on."""
    if facts.snapshot is None:
        return f"Trained on snapshot {facts.record.snapshot[:12]}, which the store no longer has."
    train = facts.snapshot.counts().loc["train"].to_dict()
    hospitals = sorted(facts.snapshot.of("train")["hospital"].unique())
    named = f" ({', '.join(hospitals)})" if len(hospitals) <= _NAMED else ""
    return (
        f"Trained on {train['patches']:,} patches of {train['patients']} patients of "
        f"{format_count(len(hospitals), 'hospital')}{named}, {format_share(train['positive'], train['patches'])} IDC;"
        f" splits by patient ({facts.record.protocol})."
    )


def _make_data_section(facts: CardFacts) -> Section:
    """Makes the section of the data: counts by split, hospital and batch, with the digests of what they are of."""
    snapshot = facts.snapshot
    if snapshot is None:
        return Section("Data", [describe_data(facts)])
    text = [
        describe_data(facts),
        f"Snapshot {snapshot.id}, frozen from {format_count(len(snapshot.batches), 'batch', 'es')}. Snapshots and "
        "batches are named by the SHA-256 of what is in them.",
    ]
    text += [
        f"Left out: {count['patches']:,} patches of {count['patients']} patients ({reason})."
        for reason, count in snapshot.left_out.items()
        if count["patches"]
    ]
    tables = [_count_table("split", snapshot.counts())]
    if snapshot.patches["hospital"].nunique() > 1:
        tables.append(_count_table("hospital", count_snapshot_by(snapshot.patches, "hospital")))
    tables.append(_count_table("batch", count_snapshot_by(snapshot.patches, "batch")))
    return Section("Data", text, tables=tables)


def make_protocol_section(facts: CardFacts) -> Section:
    """Makes the section of the protocol: who is in which split, and how it was evaluated."""
    name, _, held_out = facts.record.protocol.partition(":")
    held = f" The hospital held out: {held_out}." if held_out else ""
    text = [f"Protocol {name}. {_PROTOCOLS.get(name, '')}{held} {_SPLITS}".replace("  ", " ")]
    return Section("Protocol", text if facts.evaluation is None else [*text, _describe_scoring(facts.evaluation)])


def _describe_scoring(evaluation: Evaluation) -> str:
    options = evaluation.options
    return (
        "Metrics are of the test patients with the share of IDC that they have,"
        f" {format_share(evaluation.prevalence)}. Intervals are of {format_level(options.confidence)},"
        f" {_INTERVALS[options.interval]}. A rate on under {options.min_patches} patches or {options.min_patients}"
        " patients is n/a."
    )


def _count_table(kind: str, counts: pd.DataFrame) -> Table:
    rows = [
        [str(name), f"{row['patients']:,}", f"{row['patches']:,}", format_share(row["positive"], row["patches"])]
        for name, row in counts.iterrows()
    ]
    return Table(f"Patients and patches by {kind}.", [kind, "patients", "patches", "IDC"], rows)


USE = "Research use only: not a medical device, not for diagnosis."

INTENDED = (
    "Finds invasive ductal carcinoma (IDC) in 50x50 RGB patches of haematoxylin-and-eosin stained breast tissue at "
    f"about {MICRONS_PER_PIXEL:g} µm/px: a calibrated probability a patch, and at each confidence level whether the "
    "patch is confident.",
    "For researchers and engineers who study patch classification, and for pathologists who assess such studies.",
    "Not for: a diagnosis or any decision about a patient; a yes or no for a patient, for which nothing here was "
    "validated; other tissue, stains, scanners or magnifications than those that it was trained on, unless "
    "it is evaluated on them first.",
)

LOW = 0.7
"""An accuracy below which a card counts a patient as badly classified."""

_LEFT_OUT = ("effective", "AUPRC", "F1", "Brier score", "AUROC, patient-macro")


def make_sections(facts: CardFacts) -> list[Section]:
    """Makes the sections of a card, in their order."""
    sections = [
        Section("Intended use", [USE, *INTENDED]),
        _make_limits_section(facts),
        _make_data_section(facts),
        make_protocol_section(facts),
        _make_model_section(facts),
        *([] if facts.evaluation is None else _make_results_sections(facts.evaluation)),
        *_make_certified_sections(facts),
        *make_context(facts.record, facts.evaluation),
    ]
    return [*sections, make_compute_section(facts), describe_provenance(facts.record, f"in run {facts.run}")]


def list_limits(facts: CardFacts) -> list[str]:
    """Says what the figures do not show, and for whom the bundle was shown to do badly."""
    limits = ["Patches are classified one by one: no architecture of the tissue beyond 200 µm is seen."]
    if facts.snapshot is not None and (hospitals := facts.snapshot.patches["hospital"].nunique()) < 3:
        limits.append(
            f"All patients come from {format_count(hospitals, 'hospital')}: how it does elsewhere, with another "
            "stain or scanner, is not known."
        )
    evaluation = facts.evaluation
    if evaluation is None:
        return [
            *limits,
            "It was not evaluated on test patients: nothing is known of how it does on patients it never saw.",
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
    limits += _tell_worst_patients(evaluation)
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


def _make_limits_section(facts: CardFacts) -> Section:
    return Section("Limits", points=list_limits(facts))


def _tell_worst_patients(evaluation: Evaluation) -> list[str]:
    if not evaluation.worst:
        return []
    least = evaluation.options.min_patches
    evaluated = [row.accuracy for row in evaluation.per_patient if row.patches >= least]
    worst, below = evaluation.worst[0].accuracy, sum(each < LOW for each in evaluated)
    return [
        f"Patients differ: of the {len(evaluated)} test patients with at least {least} patches, the worst has an "
        f"accuracy of {100 * worst:.0f} %, and {below} have less than {100 * LOW:.0f} %."
    ]


def _make_model_section(facts: CardFacts) -> Section:
    options, parameters = facts.record.training, facts.compute.parameters
    weights = "" if parameters is None else f", {parameters:,} weights"
    network, preparation, probability = describe_scoring(facts.record)
    points = [
        f"{network}{weights}. {facts.note}".strip(),
        preparation,
        f"Training: at most {options.epochs} epochs of {options.batch_size} patches a step, learning rate "
        f"{options.learning_rate:g}, seed {options.seed}; flips, turns, and jitter of stain and light.",
        probability,
    ]
    return Section("Model", points=points)


def describe_scoring(record: BundleRecord, whom: str = "val patients") -> tuple[str, str, str]:
    """Says what a bundle does with a patch: by which network, how prepared, and how its probability is made."""
    calibrator = record.policy.calibrator
    calibrated = f"{calibrator.slope:.3f} · logit {format_signed(calibrator.intercept)}"
    steps = [name for name, used in _list_scoring_steps(record).items() if used]
    return (
        f"Network: {describe_ensemble(record.architecture, record.ensemble)}",
        f"Preparation, the same wherever it is used: {', '.join(steps) or 'none'}.",
        f"Probability = 1 / (1 + exp(-({calibrated}))), fitted on {whom}. A patch is called IDC at one half, "
        "and is confident at a level where the probability of its likelier class reaches it.",
    )


def _list_scoring_steps(record: BundleRecord) -> dict[str, bool]:
    preparation = record.preparation
    return {
        "sharpened with the 3x3 kernel of the founding work": preparation.sharpen,
    }


def _make_results_sections(evaluation: Evaluation) -> list[Section]:
    rows = [
        [METRIC_NAMES[name], format_estimate(estimate), format_estimate(evaluation.patient_macro[name])]
        for name, estimate in evaluation.pooled.items()
    ]
    metrics = Table(describe_evaluation(evaluation), ["metric", "all patches (pooled)", "mean over patients"], rows)
    tables = [metrics]
    if len(evaluation.per_hospital) > 1:
        tables.append(subgroup_part_table(evaluation.per_hospital, kind="hospital").without(_LEFT_OUT))
    kept, well = threshold_parts(evaluation).values()  # together they are wider than a page
    return [
        Section("Results on test patients", tables=tables),
        Section(
            "What is decided at which confidence", tables=[kept, replace(well, caption="How right what is kept is.")]
        ),
    ]


def _make_certified_sections(facts: CardFacts) -> list[Section]:
    certified, evaluation = facts.record.policy.certified, facts.evaluation
    if not certified:
        return []
    tables = [certified_threshold_table(certified)]
    if evaluation is not None and any(row.found for row in evaluation.certified):
        tables += [table for table in [certified_policy_table(evaluation.certified)] if table is not None]
    return [Section("Thresholds by target error", tables=tables)]


def make_context(record: BundleRecord, evaluation: Evaluation | None) -> list[Section]:
    """Makes the section of what neighbours do on complete slides; none where the policy has no such stage."""
    stage = record.policy.context
    if stage is None:
        return []
    tables = [certified_threshold_table(stage.certified)] if stage.certified else []
    if evaluation is not None:
        tables += [table for table in (context_table(evaluation), context_threshold_table(evaluation)) if table]
    return [Section("Neighbours, on complete slides", [describe_context(stage)], tables=tables)]


def describe_context(stage: Context) -> str:
    """Says what the stage of neighbours does, and whether it is certified."""
    return (
        f"Where a slide is complete, a patch with neighbours has a second probability: 1 / (1 + exp(-L)), L ="
        f" {stage.own:.3f} · l {_format_term(stage.neighbours)} · mean(l of its up to eight neighbours)"
        f" {_format_term(stage.intercept)}, l being the calibrated logit of a patch. It stands beside the first,"
        f" which alone decides at the gate. Its standing: {stage.standing}."
    )


def _format_term(value: float) -> str:
    return f"{'-' if value < 0 else '+'} {abs(value):.3f}"


def make_compute_section(facts: CardFacts) -> Section:
    """Makes the section of what it took to make the bundle."""
    compute = facts.compute
    took = (
        "The run does not say how long training took"
        if compute.training_hours is None
        else f"Training took {_format_hours(compute.training_hours)} on {compute.device}"
    )
    if compute.trials:
        took += f"; a search of {format_count(compute.trials, 'trial')} took {_format_hours(compute.search_hours)}"
    return Section("Compute", [f"{took}."])


def describe_provenance(record: BundleRecord, how: str) -> Section:
    """Makes the section that says where a bundle comes from; `how` completes "Made DATE UTC …"."""
    versions = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    points = [
        f"Made {record.created_at:%Y-%m-%d %H:%M} UTC {how}.",
        f"Code: commit {record.git}." if record.git else "Code: no commit is known.",
        f"Versions: {versions}.",
    ]
    return Section("Where it comes from", points=points)


def _format_hours(hours: float) -> str:
    minutes = round(60 * hours)
    if not minutes:
        return "less than a minute"
    return format_count(minutes, "minute") if minutes < 120 else f"{hours:.1f} hours"
