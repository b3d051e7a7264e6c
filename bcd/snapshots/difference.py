"""What changed from one snapshot to another: patches, patients, labels, splits, batches, slides, what was left out.

Examples:
    >>> before, after = load_snapshot(settings, "3fa"), load_snapshot(settings, "91c")  # doctest: +SKIP
    >>> difference = compare_snapshots(before, after)  # doctest: +SKIP
    >>> difference.patches_added, difference.moved  # doctest: +SKIP
    (3390, [])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bcd.patches import CELL, PERSON, patient_keys
from bcd.snapshots.freeze import Snapshot


class Change(NamedTuple):
    """One thing that is said otherwise; empty text where a snapshot does not say it."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class SnapshotDifference:
    """What a later snapshot has that an earlier one has not, and the other way round.

    Attributes:
        patches_added: Number of patches that only the later one has.
        patches_removed: Number of patches that only the earlier one has.
        relabelled: Number of patches of both, by how their label changed: "0 to 1", "1 to 0".
        patients_added: "hospital/patient" of those that only the later one has, sorted.
        patients_removed: Those that only the earlier one has, sorted.
        moved: Patients of both whose split is another one; none where both follow one protocol.
        batches_added: Ids of batches that only the later one has patches of, sorted.
        batches_removed: Those of the earlier one only, sorted.
        completed: "hospital/patient/slide" of those that are complete in the later one only, sorted.
        no_longer_complete: Those that are complete in the earlier one only, sorted.
        options: Options of splits that are not the same.
        left_out: Patches left out, by reason, where their number is not the same.
        same_protocol: Whether one protocol dealt the splits of both.
    """

    patches_added: int
    patches_removed: int
    relabelled: dict[str, int]
    patients_added: list[str]
    patients_removed: list[str]
    moved: list[Change]
    batches_added: list[str]
    batches_removed: list[str]
    completed: list[str]
    no_longer_complete: list[str]
    options: list[Change]
    left_out: list[Change]
    same_protocol: bool


def compare_snapshots(before: Snapshot, after: Snapshot) -> SnapshotDifference:
    """Compares two snapshots, whichever was frozen first."""
    both = before.patches[[*CELL, "label"]].merge(after.patches[[*CELL, "label"]], on=CELL, suffixes=("", "_after"))
    changed = both[both["label"] != both["label_after"]]
    relabelled = (changed["label"].astype(str) + " to " + changed["label_after"].astype(str)).value_counts()
    split_before, split_after = _list_splits(before), _list_splits(after)
    batches_before, batches_after = set(before.batches), set(after.batches)
    stayed = split_before.keys() & split_after.keys()
    return SnapshotDifference(
        patches_added=len(after.patches) - len(both),
        patches_removed=len(before.patches) - len(both),
        relabelled={str(way): int(count) for way, count in relabelled.sort_index().items()},
        patients_added=sorted(split_after.keys() - split_before.keys()),
        patients_removed=sorted(split_before.keys() - split_after.keys()),
        moved=_list_changes({key: split_before[key] for key in stayed}, {key: split_after[key] for key in stayed}),
        batches_added=sorted(batches_after - batches_before),
        batches_removed=sorted(batches_before - batches_after),
        completed=sorted("/".join(slide) for slide in after.complete - before.complete),
        no_longer_complete=sorted("/".join(slide) for slide in before.complete - after.complete),
        options=_list_changes(before.options, after.options),
        left_out=_list_changes(_patches_left_out(before), _patches_left_out(after)),
        same_protocol=before.protocol == after.protocol,
    )


def _list_splits(snapshot: Snapshot) -> dict[str, str]:
    patients = snapshot.patches.drop_duplicates(PERSON)
    return dict(zip(patient_keys(patients), patients["split"], strict=True))


def _patches_left_out(snapshot: Snapshot) -> dict[str, int]:
    return {reason: counts["patches"] for reason, counts in snapshot.left_out.items()}


def _list_changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[Change]:
    names = sorted({*before, *after})
    changes = [Change(name, str(before.get(name, "")), str(after.get(name, ""))) for name in names]
    return [change for change in changes if change.before != change.after]
