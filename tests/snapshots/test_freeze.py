from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from bcd.errors import DamagedError, InsufficientEvidenceError, LeakageError, NotFoundError
from bcd.patches import CANONICAL, PatientId, SlideId, lie_on, patient_keys
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, freeze_snapshot, load_snapshot
from bcd.snapshots.rows import read_freezable_rows
from bcd.snapshots.splits import SplitOptions
from bcd.store import tables
from bcd.store.batches import hash_rows, read_batch_pixels
from bcd.store.complete import CompleteSlide, record_complete
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

CELL_0 = {"hospital": "east", "patient": "0", "slide": "5", "x": 1, "y": 51}

PATIENTS = [f"{number}" for number in range(10)]


def revise(store: Store, label: int) -> None:
    revision = {**CELL_0, "label": label, **vars(SignOff("a test", "because"))}
    with store.write() as connection:
        connection.execute(sa.insert(tables.label_revisions).values(revision))


def doubt(store: Store) -> None:
    """Marks the first patch of patient 0, as a later delivery that contradicts it does."""
    with store.write() as connection:
        delivery = connection.scalars(sa.select(tables.deliveries.c.id)).first()
        row = {"rule": "two-labels", "delivery": delivery, "message": "in doubt", "found_at": datetime.now(UTC)}
        connection.execute(sa.insert(tables.conflicts).values(CELL_0 | row))


def withdraw(store: Store, patient: str) -> None:
    row = {
        "hospital": "east",
        "patient": patient,
        **vars(SignOff("a test", "a letter")),
    }
    with store.write() as connection:
        connection.execute(sa.insert(tables.withdrawn).values(row))


@pytest.fixture
def snapshot(store: Store, store_batch) -> Snapshot:
    store_batch(PATIENTS, labels=(0, 1, None))
    return freeze_snapshot(store, SplitOptions())


def test_a_snapshot_holds_labelled_patches_in_canonical_order(snapshot: Snapshot, settings: Settings) -> None:
    patches = snapshot.patches
    assert len(patches) == 20
    assert patches["label"].dtype == "int8"
    assert patches.equals(patches.sort_values(["hospital", "patient", "slide", "y", "x"], ignore_index=True))
    assert read_batch_pixels(settings, patches)[:3, 0, 0, 0].tolist() == [0, 1, 3]
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


def test_freezing_twice_writes_nothing(snapshot: Snapshot, store: Store) -> None:
    file = store.settings.snapshots / snapshot.id / "patches.parquet"
    written = file.stat().st_mtime_ns
    assert freeze_snapshot(store, SplitOptions()).id == snapshot.id
    assert file.stat().st_mtime_ns == written
    assert [path.name for path in store.settings.snapshots.iterdir()] == [snapshot.id]


def test_a_snapshot_never_changes_when_more_arrives(snapshot: Snapshot, store: Store, store_batch) -> None:
    store_batch(["new"])
    later = freeze_snapshot(store, SplitOptions())
    assert later.id != snapshot.id
    assert load_snapshot(store.settings, snapshot.id).patches.equals(snapshot.patches)


def test_a_corrected_label_and_another_protocol_make_another_snapshot(snapshot: Snapshot, store: Store) -> None:
    other = freeze_snapshot(store, SplitOptions(protocol="cruz-roa-2014"))
    revise(store, 1)
    corrected = freeze_snapshot(store, SplitOptions())
    assert len({snapshot.id, other.id, corrected.id}) == 3
    assert corrected.patches["label"].sum() == snapshot.patches["label"].sum() + 1


def test_excluded_patients_are_in_no_snapshot(store: Store, store_batch) -> None:
    store_batch(["8864", "8867"])
    snapshot = freeze_snapshot(store, SplitOptions(protocol="cruz-roa-2014-dev"))
    assert snapshot.patches["patient"].unique().tolist() == ["8867"]


def test_a_snapshot_is_found_by_the_beginning_of_its_id(snapshot: Snapshot, settings: Settings) -> None:
    loaded = load_snapshot(settings, snapshot.id[:8])
    assert (loaded.id, loaded.protocol) == (snapshot.id, "dealt")
    assert loaded.patches.equals(snapshot.patches)
    assert loaded.patches.dtypes.equals(snapshot.patches.dtypes)
    with pytest.raises(NotFoundError, match="'zz'.*" + snapshot.id[:12]):
        load_snapshot(settings, "zz")
    with pytest.raises(NotFoundError, match="''"):
        load_snapshot(settings, "")


def test_of_many_snapshots_some_are_named_where_none_or_several_may_be_meant(settings: Settings) -> None:
    """Regression: a home of many snapshots seemed to have five."""
    for number in range(7):
        (settings.snapshots / f"{number:x}".ljust(64, "a")).mkdir(parents=True)
    with pytest.raises(NotFoundError) as told:
        load_snapshot(settings, "b")
    assert told.value.fix.count("aaa, ") == 5
    assert "2 more" in told.value.fix


def test_nothing_labelled_is_nothing_to_freeze(store: Store, store_batch) -> None:
    store_batch(["a"], labels=(None,))
    with pytest.raises(InsufficientEvidenceError):
        freeze_snapshot(store, SplitOptions())
    assert not store.settings.snapshots.exists()


def test_what_a_snapshot_is_called_has_not_changed(snapshot: Snapshot) -> None:
    """Registered models name their snapshot: this is the formula by which they were named."""
    columns = ["hospital", "patient", "slide", "y", "x", "label", "split", "pixel_sha256"]
    lines = ["\t".join(str(value) for value in row) for row in snapshot.patches[columns].itertuples(index=False)]
    rows = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert snapshot.id == hashlib.sha256(f"dealt\n{rows}".encode()).hexdigest()


@pytest.mark.parametrize("chunk", [1, 7, 20, 100])
def test_rows_are_hashed_alike_in_chunks_of_any_size_and_whatever_holds_their_text(
    snapshot: Snapshot, chunk: int
) -> None:
    columns = [*CANONICAL, "label", "split", "pixel_sha256"]
    whole = hash_rows(snapshot.patches, columns)
    assert hash_rows(snapshot.patches, columns, chunk=chunk) == whole
    categories = snapshot.patches.astype({"hospital": "category", "split": "category", "patient": "object"})
    assert hash_rows(categories, columns, chunk=chunk) == whole


def test_a_missing_value_hashes_as_nothing() -> None:
    labels = pd.DataFrame({"label": pd.array([1, None], dtype="Int8"), "name": ["a", None]})
    assert hash_rows(labels, ["label", "name"]) == hashlib.sha256(b"1\ta\n\t").hexdigest()


def test_rows_are_put_together_from_pieces_in_which_other_names_occur(snapshot: Snapshot, store: Store) -> None:
    with store.read() as connection:
        whole, pieces = (read_freezable_rows(connection, snapshot.protocol, chunk=chunk) for chunk in (100, 3))
    assert len(pieces) == len(snapshot.patches)
    assert pieces.equals(whole)


def test_the_manifest_counts_by_split_class_hospital_batch_and_patient(store: Store, store_batch) -> None:
    first = store_batch(["1", "2", "3", "4", "5"], labels=(0, 1, 1))
    second = store_batch(["1", "2"], labels=(0, None), hospital="west")
    snapshot = freeze_snapshot(store, SplitOptions())
    manifest = json.loads((store.settings.snapshots / snapshot.id / "manifest.json").read_text())
    assert manifest["by_class"] == {
        "0": {"patients": 7, "patches": 7, "positive": 0},
        "1": {"patients": 5, "patches": 10, "positive": 10},
    }
    assert manifest["by_hospital"]["west"] == {"patients": 2, "patches": 2, "positive": 0}
    assert manifest["by_batch"][first] == {"patients": 5, "patches": 15, "positive": 10}
    assert manifest["by_batch"][second]["patches"] == 2
    assert manifest["by_patient"]["west/1"] == {"patients": 1, "patches": 1, "positive": 0}
    assert manifest["by_patient"]["east/1"]["patches"] == 3
    assert manifest["left_out"] == {"unlabelled": {"patients": 2, "patches": 2}}
    assert manifest["options"]["protocol"] == "dealt"
    assert manifest["options"]["train"] == 0.5
    assert snapshot.options == manifest["options"]


def test_the_key_that_deals_is_not_written_down(store: Store, store_batch) -> None:
    store_batch(PATIENTS)
    snapshot = freeze_snapshot(store, SplitOptions(key="a secret of ours"))
    assert "secret" not in (store.settings.snapshots / snapshot.id / "manifest.json").read_text()


def test_a_patch_in_doubt_is_left_out_until_a_label_revision_settles_it(snapshot: Snapshot, store: Store) -> None:
    doubt(store)
    without = freeze_snapshot(store, SplitOptions())
    assert len(without.patches) == len(snapshot.patches) - 1
    assert without.left_out["conflict"] == {"patients": 1, "patches": 1}
    revise(store, 0)  # a human says that the label was right
    assert freeze_snapshot(store, SplitOptions()).id == snapshot.id
    doubt(store)  # a new doubt is younger than that word
    assert freeze_snapshot(store, SplitOptions()).id == without.id


def test_a_withdrawn_patient_is_left_out_of_later_snapshots_and_stays_in_earlier_ones(
    snapshot: Snapshot, store: Store
) -> None:
    withdraw(store, "3")
    later = freeze_snapshot(store, SplitOptions())
    assert "3" not in set(later.patches["patient"])
    assert later.left_out["withdrawn"] == {"patients": 1, "patches": 3}
    assert "3" in set(load_snapshot(store.settings, snapshot.id).patches["patient"])


def test_everything_left_out_is_counted_once_with_its_reason(store: Store, store_batch) -> None:
    store_batch(["0", "8867", "8864", "8863"], labels=(0, 1, None))  # 8864 is of the published test list
    doubt(store)
    withdraw(store, "8863")
    snapshot = freeze_snapshot(store, SplitOptions(protocol="cruz-roa-2014-dev"))
    assert snapshot.left_out == {
        "withdrawn": {"patients": 1, "patches": 3},
        "excluded": {"patients": 1, "patches": 3},
        "conflict": {"patients": 1, "patches": 1},
        "unlabelled": {"patients": 2, "patches": 2},
    }
    assert len(snapshot.patches) + sum(counts["patches"] for counts in snapshot.left_out.values()) == 12


def test_another_hospital_held_out_is_another_snapshot_and_rewrites_none(store: Store, store_batch) -> None:
    store_batch(PATIENTS, hospital="east")
    store_batch(PATIENTS, hospital="west")
    frozen = {}
    for hospital in ("east", "west"):
        options = SplitOptions(protocol="leave-one-hospital-out", held_out=hospital)
        frozen[hospital] = freeze_snapshot(store, options)
        assert frozen[hospital].protocol == f"leave-one-hospital-out:{hospital}"
        assert set(frozen[hospital].of("test")["hospital"]) == {hospital}
    dealt = freeze_snapshot(store, SplitOptions())
    for snapshot in (*frozen.values(), dealt):
        assert load_snapshot(store.settings, snapshot.id).patches.equals(snapshot.patches)
    again = freeze_snapshot(store, SplitOptions(protocol="leave-one-hospital-out", held_out="east"))
    assert again.id == frozen["east"].id
    assert len(list(store.settings.snapshots.iterdir())) == 3


def test_a_removed_snapshot_is_frozen_again_as_it_was(snapshot: Snapshot, store: Store) -> None:
    folder = store.settings.snapshots / snapshot.id
    before = _read_all(folder)
    shutil.rmtree(folder)
    freeze_snapshot(store, SplitOptions())
    assert _read_all(folder) == before


def _read_all(folder: Path) -> dict[str, bytes]:
    """Returns every file of a snapshot but the one that says when it was frozen."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "frozen.json"}


def test_a_catalog_that_leaks_is_not_frozen(store: Store, store_batch) -> None:
    store_batch(PATIENTS)
    with store.write() as connection:
        same = sa.update(tables.patches).where(tables.patches.c.label == 1)
        connection.execute(same.values(pixel_sha256="the same for all"))
    with pytest.raises(LeakageError, match="the same"):
        freeze_snapshot(store, SplitOptions())
    assert not store.settings.snapshots.exists()


def declare_complete(store: Store, patient: str) -> None:
    with store.write() as connection:
        record_complete(connection, "east", 1, [CompleteSlide(PatientId(patient), SlideId("5"), "declared")])


def test_a_snapshot_knows_which_of_its_slides_are_complete(snapshot: Snapshot, store: Store) -> None:
    assert snapshot.complete == frozenset()
    declare_complete(store, "3")
    declare_complete(store, "another")  # of whom the snapshot has no patch
    later = freeze_snapshot(store, SplitOptions())
    assert later.complete == {("east", "3", "5")}
    assert load_snapshot(store.settings, later.id).complete == later.complete
    assert later.id != snapshot.id  # what a network's second stage is fitted on is part of what it is
    assert later.patches.equals(snapshot.patches)
    on_it = lie_on(later.patches, later.complete)
    assert set(later.patches.loc[on_it, "patient"]) == {"3"}
    assert on_it.sum() == 2


def test_a_slide_called_complete_in_the_manifest_alone_is_noticed(snapshot: Snapshot, settings: Settings) -> None:
    path = settings.snapshots / snapshot.id / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"complete": [["east", "3", "5"]]}))
    with pytest.raises(DamagedError):
        load_snapshot(settings, snapshot.id)
