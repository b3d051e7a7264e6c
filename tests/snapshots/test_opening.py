"""A snapshot opens as it was frozen, without its pixels, or not at all."""

from __future__ import annotations

import json
import shutil

import pytest

from bcd.errors import DamagedError, LeakageError
from bcd.files import hash_file
from bcd.settings import Settings, load_settings
from bcd.snapshots.freeze import Snapshot, freeze_snapshot, load_snapshot, snapshot_id
from bcd.snapshots.splits import SplitOptions
from bcd.store.store import Store


@pytest.fixture
def settings(tmp_path) -> Settings:
    return load_settings(tmp_path / "home")


@pytest.fixture
def snapshot(store: Store, store_batch) -> Snapshot:
    store_batch([str(number) for number in range(10)])
    return freeze_snapshot(store, SplitOptions())


def test_opening_needs_no_pixels(snapshot: Snapshot, settings: Settings) -> None:
    shutil.rmtree(settings.batches)
    assert load_snapshot(settings, snapshot.id).patches.equals(snapshot.patches)


@pytest.mark.parametrize("column", ["label", "split", "pixel_sha256", "row", "batch"])
def test_an_edited_row_is_noticed_on_opening(snapshot: Snapshot, settings: Settings, column: str) -> None:
    patches = snapshot.patches.copy()
    patches[column] = patches[column].iloc[::-1].to_numpy()
    patches.to_parquet(settings.snapshots / snapshot.id / "patches.parquet", index=False)
    with pytest.raises(DamagedError, match=snapshot.id[:12]):
        load_snapshot(settings, snapshot.id)


@pytest.mark.parametrize("name", ["patches.parquet", "manifest.json"])
@pytest.mark.parametrize("damage", ["short", "gone"])
def test_a_damaged_snapshot_is_refused_naming_it(
    snapshot: Snapshot, settings: Settings, name: str, damage: str
) -> None:
    file = settings.snapshots / snapshot.id / name
    file.write_bytes(file.read_bytes()[:200]) if damage == "short" else file.unlink()
    with pytest.raises(DamagedError, match=snapshot.id[:12]):
        load_snapshot(settings, snapshot.id)


def test_leakage_in_a_whole_snapshot_is_refused_on_opening(snapshot: Snapshot, settings: Settings) -> None:
    leaky = snapshot.patches.copy()
    leaky.loc[0, "split"] = "test" if leaky.loc[0, "split"] == "train" else "train"
    identity = snapshot_id("dealt", leaky)
    folder = shutil.copytree(settings.snapshots / snapshot.id, settings.snapshots / identity)
    leaky.to_parquet(folder / "patches.parquet", index=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"id": identity, "patches_sha256": hash_file(folder / "patches.parquet")}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(LeakageError, match="east/0"):
        load_snapshot(settings, identity)
