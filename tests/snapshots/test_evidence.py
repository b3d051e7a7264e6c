"""Evidence: enough patients of both classes in a split, and nothing in two of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from patients import in_snapshot, list_patches

from bcd.errors import BcdError, InsufficientEvidenceError, LeakageError
from bcd.patches import SnapshotId, patient_keys
from bcd.snapshots.evidence import assert_no_leakage, require_split_evidence
from bcd.snapshots.freeze import Snapshot

SPLITS = ["train"] * 5 + ["val"] * 2 + ["gate"] + ["test"] * 2


@pytest.fixture
def snapshot() -> Snapshot:
    """Ten patients with a patch of each label."""
    splits = {str(number): split for number, split in enumerate(SPLITS)}
    patches = in_snapshot(list_patches(splits, [0, 1]))
    return Snapshot(SnapshotId("5" * 64), "dealt", patches)


def test_too_few_patients_are_named_with_the_split(snapshot: Snapshot) -> None:
    require_split_evidence(snapshot, "train", min_patients=5, purpose="training")
    with pytest.raises(InsufficientEvidenceError, match=r"\btrain\b.*\b5; training .*\b8, 3\b"):
        require_split_evidence(snapshot, "train", min_patients=8, purpose="training")


def test_one_class_is_not_evidence(snapshot: Snapshot) -> None:
    patches = snapshot.patches
    one_class = replace(snapshot, patches=patches[(patches["split"] != "val") | (patches["label"] == 0)])
    with pytest.raises(InsufficientEvidenceError, match=r"\bval\b.*\blabel 0\b"):
        require_split_evidence(one_class, "val", min_patients=1, purpose="training")


def test_an_honest_snapshot_has_no_leakage(snapshot: Snapshot) -> None:
    assert_no_leakage(snapshot)


def test_a_patient_in_two_splits_is_refused_naming_both(snapshot: Snapshot) -> None:
    patches = snapshot.patches.copy()
    patches.loc[0, "split"] = "test" if patches.loc[0, "split"] == "train" else "train"
    with pytest.raises(LeakageError, match=r"\beast/0\b.*\btrain\b"):
        assert_no_leakage(replace(snapshot, patches=patches))


def test_equal_identifiers_of_two_hospitals_are_two_patients(snapshot: Snapshot) -> None:
    patches = snapshot.patches.assign(patient="1")
    patches["hospital"] = patches["split"]
    assert_no_leakage(replace(snapshot, patches=patches))


def test_the_same_pixels_twice_in_one_split_are_no_leakage(snapshot: Snapshot) -> None:
    patches = snapshot.patches.copy()
    patches.loc[:9, "pixel_sha256"] = "the same"
    assert_no_leakage(replace(snapshot, patches=patches))


@pytest.mark.parametrize("lacking", ["column", "one value", "empty text"])
def test_without_hashes_of_pixels_nothing_is_vouched_for(snapshot: Snapshot, lacking: str) -> None:
    patches = snapshot.patches.copy()
    if lacking == "column":
        patches = patches.drop(columns="pixel_sha256")
    else:
        patches.loc[3, "pixel_sha256"] = None if lacking == "one value" else ""
    with pytest.raises(LeakageError, match="pixel_sha256"):
        assert_no_leakage(replace(snapshot, patches=patches))


@pytest.mark.parametrize("dtype", ["str", "object", "category"])
def test_leakage_is_found_whatever_holds_the_text(snapshot: Snapshot, dtype: str) -> None:
    patches = snapshot.patches.copy()
    patches.loc[19, "pixel_sha256"] = patches["pixel_sha256"].iloc[0]
    text = dict.fromkeys(("hospital", "patient", "split", "pixel_sha256"), dtype)
    with pytest.raises(LeakageError, match=r"\btrain\b.*\beast/0\b.*\btest\b.*\beast/9\b"):
        assert_no_leakage(replace(snapshot, patches=patches.astype(text)))


def test_the_same_pixels_in_two_splits_are_refused_naming_both_patients(snapshot: Snapshot) -> None:
    patches = snapshot.patches.copy()
    one, other = snapshot.of("train").index[0], snapshot.of("gate").index[0]
    patches.loc[other, "pixel_sha256"] = patches.loc[one, "pixel_sha256"]
    keys = patient_keys(patches)
    with pytest.raises(BcdError, match="Picture") as refusal:
        assert_no_leakage(replace(snapshot, patches=patches))
    assert keys[one] in str(refusal.value)
    assert keys[other] in str(refusal.value)
