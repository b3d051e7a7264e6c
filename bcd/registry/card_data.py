"""What a model card says of the data and of the protocol that dealt the patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bcd.evaluation.report import Evaluation
from bcd.evaluation.tables import Table, format_level
from bcd.registry.card_facts import CardFacts
from bcd.store.snapshot_counts import count_by

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
        f"{format_count(len(hospitals), 'hospital')}{named}, {_share(train['positive'], train['patches'])} IDC; "
        f"splits by patient ({facts.record.protocol})."
    )


def make_data(facts: CardFacts) -> Section:
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
        tables.append(_count_table("hospital", count_by(snapshot.patches, "hospital")))
    tables.append(_count_table("batch", count_by(snapshot.patches, "batch")))
    return Section("Data", text, tables=tables)


def make_protocol(facts: CardFacts) -> Section:
    """Makes the section of the protocol: who is in which split, and how it was judged."""
    name, _, held_out = facts.record.protocol.partition(":")
    held = f" The hospital held out: {held_out}." if held_out else ""
    text = [f"Protocol {name}. {_PROTOCOLS.get(name, '')}{held} {_SPLITS}".replace("  ", " ")]
    return Section("Protocol", text if facts.evaluation is None else [*text, _describe_judging(facts.evaluation)])


def format_count(n: int, noun: str, plural: str = "s") -> str:
    """Formats a number of things, as `1 batch` or `2 batches`."""
    return f"{n:,} {noun}{'' if n == 1 else plural}"


def _describe_judging(evaluation: Evaluation) -> str:
    options = evaluation.options
    return (
        f"Metrics are of the test patients with the share of IDC that they have, {_share(evaluation.prevalence)}. "
        f"Intervals are of {format_level(options.confidence)}, {_INTERVALS[options.interval]}. A rate on under "
        f"{options.min_patches} patches or {options.min_patients} patients is n/a."
    )


def _count_table(kind: str, counts: pd.DataFrame) -> Table:
    rows = [
        [str(name), f"{row['patients']:,}", f"{row['patches']:,}", _share(row["positive"], row["patches"])]
        for name, row in counts.iterrows()
    ]
    return Table(f"Patients and patches by {kind}.", [kind, "patients", "patches", "IDC"], rows)


def _share(part: float, whole: float = 1) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "n/a"
