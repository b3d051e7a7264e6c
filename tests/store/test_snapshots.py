from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.batches import read_pixels
from bcd.store.catalog import Catalog
from bcd.store.evidence import assert_no_leakage, require_evidence
from bcd.store.snapshots import Snapshot, freeze_snapshot, load_snapshot, patient_keys
from bcd.store.splits import SplitOptions

PATIENTS = [f"{number}" for number in range(10)]


@pytest.fixture
def snapshot(settings: Settings, catalog: Catalog, store_batch) -> Snapshot:
    store_batch(PATIENTS, labels=(0, 1, None))
    return freeze_snapshot(settings, catalog, SplitOptions())


def test_a_snapshot_holds_labelled_patches_in_canonical_order(snapshot: Snapshot, settings: Settings) -> None:
    patches = snapshot.patches
    assert len(patches) == 20
    assert patches["label"].dtype == "int8"
    assert patches.equals(patches.sort_values(["hospital", "patient", "slide", "y", "x"], ignore_index=True))
    assert read_pixels(settings, patches)[:3, 0, 0, 0].tolist() == [0, 1, 3]
    assert patient_keys(patches).iloc[0] == "east/0"


def test_counts_are_by_split_and_name_every_split(snapshot: Snapshot, settings: Settings) -> None:
    counts = snapshot.counts()
    assert counts.loc["train"].to_dict() == {"patients": 5, "patches": 10, "positive": 5}
    assert counts["patches"].sum() == len(snapshot.patches)
    manifest = json.loads((settings.snapshots / snapshot.id / "manifest.json").read_text())
    assert manifest["counts"]["train"]["patients"] == 5
    assert manifest["batches"] == snapshot.batches
    train_only = replace(snapshot, patches=snapshot.of("train"))
    assert train_only.counts().loc["gate"].tolist() == [0, 0, 0]


def test_freezing_twice_writes_nothing(snapshot: Snapshot, settings: Settings, catalog: Catalog) -> None:
    file = settings.snapshots / snapshot.id / "patches.parquet"
    written = file.stat().st_mtime_ns
    assert freeze_snapshot(settings, catalog, SplitOptions()).id == snapshot.id
    assert file.stat().st_mtime_ns == written
    assert [path.name for path in settings.snapshots.iterdir()] == [snapshot.id]


def test_a_snapshot_never_changes_when_more_arrives(
    snapshot: Snapshot, settings: Settings, catalog: Catalog, store_batch
) -> None:
    store_batch(["new"])
    later = freeze_snapshot(settings, catalog, SplitOptions())
    assert later.id != snapshot.id
    assert load_snapshot(settings, snapshot.id).patches.equals(snapshot.patches)


def test_a_corrected_label_and_another_protocol_make_another_snapshot(
    snapshot: Snapshot, settings: Settings, catalog: Catalog
) -> None:
    other = freeze_snapshot(settings, catalog, SplitOptions(protocol="cruz-roa-2014"))
    cell = {"hospital": "east", "patient": "0", "slide": "5", "x": 1, "y": 51}
    with catalog.write() as connection:
        revision = {**cell, "label": 1, "author": "a test", "reason": "because", "revised_at": datetime.now(UTC)}
        connection.execute(sa.insert(tables.label_revisions).values(revision))
    corrected = freeze_snapshot(settings, catalog, SplitOptions())
    assert len({snapshot.id, other.id, corrected.id}) == 3
    assert corrected.patches["label"].sum() == snapshot.patches["label"].sum() + 1


def test_excluded_patients_are_in_no_snapshot(settings: Settings, catalog: Catalog, store_batch) -> None:
    store_batch(["8864", "8867"])
    snapshot = freeze_snapshot(settings, catalog, SplitOptions(protocol="cruz-roa-2014-dev"))
    assert snapshot.patches["patient"].unique().tolist() == ["8867"]


def test_a_snapshot_is_found_by_the_beginning_of_its_id(snapshot: Snapshot, settings: Settings) -> None:
    loaded = load_snapshot(settings, snapshot.id[:8])
    assert (loaded.id, loaded.protocol) == (snapshot.id, "dealt")
    assert loaded.patches.equals(snapshot.patches)
    assert loaded.patches.dtypes.equals(snapshot.patches.dtypes)
    with pytest.raises(BcdError, match=r"no snapshot 'zz'.*" + snapshot.id[:12]):
        load_snapshot(settings, "zz")
    with pytest.raises(BcdError, match="no snapshot ''"):
        load_snapshot(settings, "")


def test_nothing_labelled_is_nothing_to_freeze(settings: Settings, catalog: Catalog, store_batch) -> None:
    store_batch(["a"], labels=(None,))
    with pytest.raises(BcdError, match="nothing to train on"):
        freeze_snapshot(settings, catalog, SplitOptions())
    assert not settings.snapshots.exists()


def test_too_few_patients_are_named_with_the_split(snapshot: Snapshot) -> None:
    require_evidence(snapshot, "train", min_patients=5, purpose="training")
    with pytest.raises(
        InsufficientEvidenceError, match=r"Split train .* has too few patients: 5; training needs at least 8, 3 more"
    ):
        require_evidence(snapshot, "train", min_patients=8, purpose="training")


def test_one_class_is_not_evidence(snapshot: Snapshot) -> None:
    patches = snapshot.patches
    one_class = replace(snapshot, patches=patches[(patches["split"] != "val") | (patches["label"] == 0)])
    with pytest.raises(InsufficientEvidenceError, match=r"Split val .* label 0 only"):
        require_evidence(one_class, "val", min_patients=1, purpose="training")


def test_an_honest_snapshot_has_no_leakage(snapshot: Snapshot) -> None:
    assert_no_leakage(snapshot)


def test_a_patient_in_two_splits_is_refused_naming_both(snapshot: Snapshot) -> None:
    patches = snapshot.patches.copy()
    patches.loc[0, "split"] = "test" if patches.loc[0, "split"] == "train" else "train"
    with pytest.raises(BcdError, match=r"Patient east/0 lies in two splits.*train.*"):
        assert_no_leakage(replace(snapshot, patches=patches))


def test_the_same_pixels_in_two_splits_are_refused_naming_both_patients(snapshot: Snapshot) -> None:
    patches = snapshot.patches.copy()
    one, other = snapshot.of("train").index[0], snapshot.of("gate").index[0]
    patches.loc[other, "pixel_sha256"] = patches.loc[one, "pixel_sha256"]
    keys = patient_keys(patches)
    with pytest.raises(BcdError, match="Picture") as refusal:
        assert_no_leakage(replace(snapshot, patches=patches))
    assert keys[one] in str(refusal.value)
    assert keys[other] in str(refusal.value)
