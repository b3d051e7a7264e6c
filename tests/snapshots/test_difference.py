"""What is said of two snapshots is what was done between them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from patients import in_snapshot, list_patches

from bcd.patches import Hospital, PatientId, SlideId, SnapshotId
from bcd.snapshots.difference import Change, compare_snapshots
from bcd.snapshots.freeze import Snapshot


@pytest.fixture
def snapshot() -> Snapshot:
    """Six patients with four patches each, in two batches."""
    splits = dict(zip("012345", ["train", "train", "train", "val", "gate", "test"], strict=True))
    listed = list_patches(splits, [0, 1] * 2)
    halves = [in_snapshot(listed.iloc[:12], "first"), in_snapshot(listed.iloc[12:], "second")]
    patches = pd.concat(halves, ignore_index=True)
    left_out = {"unlabelled": {"patients": 2, "patches": 9}}
    return Snapshot(SnapshotId("a" * 64), "dealt", patches, {"protocol": "dealt", "train": 0.5}, left_out)


def test_a_snapshot_does_not_differ_from_itself(snapshot: Snapshot) -> None:
    same = compare_snapshots(snapshot, snapshot)
    assert (same.patches_added, same.patches_removed, same.same_protocol) == (0, 0, True)
    lists = (same.patients_added, same.patients_removed, same.batches_added, same.batches_removed)
    assert not any([*lists, same.relabelled, same.moved, same.options, same.left_out])


def test_what_was_added_one_way_is_removed_the_other_way(snapshot: Snapshot) -> None:
    earlier = replace(snapshot, patches=snapshot.patches.iloc[:14])  # patients 0 to 2, and half of 3
    forth, back = compare_snapshots(earlier, snapshot), compare_snapshots(snapshot, earlier)
    assert (forth.patches_added, forth.patches_removed) == (10, 0)
    assert (back.patches_added, back.patches_removed) == (0, 10)
    assert forth.patients_added == back.patients_removed == ["east/4", "east/5"]
    first = replace(snapshot, patches=snapshot.patches.iloc[:12])
    assert compare_snapshots(first, snapshot).batches_added == ["second"]
    assert compare_snapshots(snapshot, first).batches_removed == ["second"]


def test_changed_labels_are_counted_by_way(snapshot: Snapshot) -> None:
    patches = snapshot.patches.copy()
    patches.loc[[0, 2, 4], "label"] = 1
    patches.loc[1, "label"] = 0
    difference = compare_snapshots(snapshot, replace(snapshot, patches=patches))
    assert difference.relabelled == {"0 to 1": 3, "1 to 0": 1}
    assert (difference.patches_added, difference.patches_removed) == (0, 0)


def test_a_patient_in_another_split_is_named_with_both(snapshot: Snapshot) -> None:
    patches = snapshot.patches.assign(split=snapshot.patches["split"].replace("gate", "train"))
    difference = compare_snapshots(snapshot, replace(snapshot, patches=patches))
    assert difference.moved == [Change("east/4", "gate", "train")]
    assert difference.same_protocol
    assert not compare_snapshots(snapshot, replace(snapshot, protocol="cruz-roa-2014")).same_protocol


def test_the_same_cell_of_two_hospitals_is_two_patches(snapshot: Snapshot) -> None:
    west = replace(snapshot, patches=snapshot.patches.assign(hospital="west"))
    difference = compare_snapshots(snapshot, west)
    assert (difference.patches_added, difference.patches_removed) == (24, 24)
    assert len(difference.patients_added) == 6


def test_slides_that_became_complete_are_named(snapshot: Snapshot) -> None:
    one, two = ((Hospital("east"), PatientId(patient), SlideId("1")) for patient in "01")
    earlier, later = replace(snapshot, complete=frozenset([one])), replace(snapshot, complete=frozenset([two]))
    difference = compare_snapshots(earlier, later)
    assert (difference.completed, difference.no_longer_complete) == (["east/1/1"], ["east/0/1"])
    assert difference.patches_added == 0


def test_options_and_what_was_left_out_are_compared(snapshot: Snapshot) -> None:
    left_out = {"unlabelled": {"patients": 1, "patches": 4}, "withdrawn": {"patients": 1, "patches": 3}}
    other = replace(snapshot, options={"protocol": "dealt", "train": 0.6}, left_out=left_out)
    difference = compare_snapshots(snapshot, other)
    assert difference.options == [Change("train", "0.5", "0.6")]
    assert difference.left_out == [Change("unlabelled", "9", "4"), Change("withdrawn", "", "3")]
