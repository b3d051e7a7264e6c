"""Whether a snapshot can bear what is asked of it: enough patients of both classes, and no leakage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bcd.errors import BcdError, InsufficientEvidenceError, LeakageError
from bcd.patches import PERSON

if TYPE_CHECKING:
    import pandas as pd

    from bcd.snapshots.snapshot import Snapshot

_FIX = "Find out which is right and freeze a new snapshot; no model is evaluated on what it was trained on."


def require_split_evidence(snapshot: Snapshot, split: str, *, min_patients: int, purpose: str) -> None:
    """Refuses a split that has too few patients or one class only.

    Args:
        snapshot: What is to be trained on or evaluated on.
        split: The split that is needed.
        min_patients: How many patients it needs.
        purpose: What for, as in "training a network".

    Raises:
        InsufficientEvidenceError: Naming the split and what it lacks.
    """
    min_patients = max(min_patients, 1)
    patches = snapshot.of(split)
    patients = len(patches[PERSON].drop_duplicates())
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
        BcdError: Naming both patches; or a patch does not say which pixels it has, so that nobody can tell.
    """
    patches = snapshot.patches
    splits = _code_values(patches["split"])
    patient = _code_values(patches["hospital"]) * (len(patches) + 1) + _code_values(patches["patient"])
    leak = _find_leak(patient, splits)
    if leak is not None:
        raise _make_leakage_error(snapshot, f"Patient {_name_leaking_patient(patches, leak[0])}", leak)
    leak = _find_leak(_code_values(_pixel_hashes(snapshot)), splits)
    if leak is not None:
        raise _make_leakage_error(snapshot, f"Picture {patches['pixel_sha256'].iloc[leak[0]]}", leak)


def _pixel_hashes(snapshot: Snapshot) -> pd.Series[str]:
    patches = snapshot.patches
    if "pixel_sha256" in patches:
        hashes = patches["pixel_sha256"]
        if not (hashes.isna() | (hashes == "")).any():
            return hashes
    raise LeakageError(
        f"Patches of snapshot {snapshot.id[:12]} do not say which pixels they have (column pixel_sha256),"
        " so that leakage cannot be ruled out.",
        "Freeze a new snapshot: every admitted patch has the hash of its pixels.",
    )


def _code_values(values: pd.Series[str]) -> np.ndarray:
    return values.factorize()[0].astype(np.int64)


def _find_leak(codes: np.ndarray, splits: np.ndarray) -> tuple[int, int] | None:
    """Returns the rows of two patches that share a code but not the split."""
    width = int(splits.max(initial=0)) + 1
    pairs, rows = np.unique(codes * width + splits, return_index=True)
    shared = np.flatnonzero(np.diff(pairs // width) == 0)
    return (int(rows[shared[0]]), int(rows[shared[0] + 1])) if len(shared) else None


def _name_leaking_patient(patches: pd.DataFrame, row: int) -> str:
    return f"{patches['hospital'].iloc[row]}/{patches['patient'].iloc[row]}"


def _make_leakage_error(snapshot: Snapshot, what: str, rows: tuple[int, int]) -> BcdError:
    patches = snapshot.patches
    sides = [f"{patches['split'].iloc[row]} (patient {_name_leaking_patient(patches, row)})" for row in rows]
    return LeakageError(f"{what} lies in two splits of snapshot {snapshot.id[:12]}: {' and '.join(sides)}.", _FIX)
