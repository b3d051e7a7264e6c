"""A snapshot opens as it was frozen, without its pixels, or not at all."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from bcd.errors import DamagedError, LeakageError
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


def test_a_snapshot_of_an_earlier_bcd_opens_and_leakage_in_it_is_refused(
    snapshot: Snapshot, settings: Settings
) -> None:
    def write(patches: pd.DataFrame) -> str:
        identity = snapshot_id("dealt", patches)
        folder = settings.snapshots / identity
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        patches.to_parquet(folder / "patches.parquet", index=False)
        (folder / "manifest.json").write_text(json.dumps({"id": identity, "protocol": "dealt", "counts": {}}))
        return identity

    assert load_snapshot(settings, write(snapshot.patches)).patches.equals(snapshot.patches)
    leaky = snapshot.patches.copy()
    leaky.loc[0, "split"] = "test" if leaky.loc[0, "split"] == "train" else "train"
    with pytest.raises(LeakageError, match="east/0"):
        load_snapshot(settings, write(leaky))
