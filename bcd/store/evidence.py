"""Whether a snapshot can bear what is asked of it: enough patients of both classes, and no leakage."""

from __future__ import annotations

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.store.snapshots import Snapshot, patient_keys


def require_evidence(snapshot: Snapshot, split: str, *, min_patients: int, purpose: str) -> None:
    """Refuses a split that has too few patients or one class only.

    Args:
        snapshot: What is to be trained on or judged by.
        split: The split that is needed.
        min_patients: How many patients it needs.
        purpose: What for, as in "training a network".

    Raises:
        InsufficientEvidenceError: Naming the split and what it lacks.
    """
    min_patients = max(min_patients, 1)
    patches = snapshot.of(split)
    patients = patient_keys(patches).nunique()
    name = f"Split {split} of snapshot {snapshot.id[:12]}"
    if patients < min_patients:
        raise InsufficientEvidenceError(
            f"{name} has too few patients: {patients}; {purpose} needs at least {min_patients},"
            f" {min_patients - patients} more.",
            "Admit deliveries with more labelled patients.",
        )
    classes = sorted(patches["label"].unique())
    if len(classes) < 2:
        raise InsufficientEvidenceError(
            f"{name} has patches of label {classes[0]} only; {purpose} needs both labels.",
            f"Admit deliveries with patches of label {1 - int(classes[0])}.",
        )


def assert_no_leakage(snapshot: Snapshot) -> None:
    """Refuses a snapshot in which a patient, or the same pixels, lie in two splits.

    Raises:
        BcdError: Naming both.
    """
    patches = snapshot.patches.assign(patient_key=patient_keys(snapshot.patches))
    for column, what in (("patient_key", "Patient"), ("pixel_sha256", "Picture")):
        if column not in patches:
            continue
        pairs = patches.drop_duplicates([column, "split"])
        leaks = pairs[pairs.duplicated(column, keep=False)].sort_values([column, "split"])
        if len(leaks):
            sides = [f"{leak['split']} (patient {leak['patient_key']})" for _, leak in leaks.iloc[:2].iterrows()]
            raise BcdError(
                f"{what} {leaks[column].iloc[0]} lies in two splits of snapshot {snapshot.id[:12]}:"
                f" {' and '.join(sides)}.",
                "Find out which is right and freeze a new snapshot; nothing is trained on what judges it.",
            )
