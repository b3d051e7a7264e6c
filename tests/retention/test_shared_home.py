"""A home and a store: a home is put into it as a whole, and a backup takes what lies in it alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from patients import list_patches, store_patches
from stored import new_store

from bcd.errors import DamagedError
from bcd.patches import BatchId
from bcd.retention.backup.folder import BackupFolder
from bcd.retention.backup.make import make_backup
from bcd.retention.backup.restore import restore_backup
from bcd.retention.share import share_home
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot, load_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store import objects
from bcd.store.batches import open_pixels
from bcd.store.bucket import Bucket, open_bucket
from bcd.store.store import Store, open_store

PATCHES = list_patches([f"p{number}" for number in range(8)], [0, 1])
PIXELS = np.random.default_rng(0).integers(0, 256, (len(PATCHES), 50, 50, 3), dtype=np.uint8)


pytestmark = pytest.mark.usefixtures("forgetful")


def fill(store: Store) -> tuple[BatchId, str]:
    """Stores a batch, a snapshot and a patient's report, and returns the ids of the first two."""
    batch, snapshot = store_patches(store, PATCHES, PIXELS), freeze_snapshot(store, SplitOptions())
    report = store.settings.scores / "east" / "p1" / "bcd-idc-1-0" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("a report")
    return batch, snapshot.id


def test_a_home_that_was_made_alone_is_put_into_the_store(machines: tuple[Settings, Settings]) -> None:
    one, other = machines
    batch, snapshot = fill(new_store(one.model_copy(update={"store_url": ""})))
    for name in ("network/training.json", "network/network.keras", "graph/graph.xml", "plan.json", "choice.json"):
        (one.work / "00ff" / name).parent.mkdir(parents=True, exist_ok=True)
        (one.work / "00ff" / name).write_text(name)
    (one.work / "study" / "trial-3").mkdir(parents=True)
    (one.work / "study" / "trial-3" / "checkpoint.npz").write_text("a training under way")
    assert share_home(one) == 7
    assert share_home(one) == 7
    assert open_pixels(other, batch).shape == PIXELS.shape
    assert len(load_snapshot(other, snapshot).patches) == len(PATCHES)
    report = objects.require(other, other.scores / "east" / "p1" / "bcd-idc-1-0") / "report.html"
    assert report.read_text() == "a report"
    network = objects.require(other, other.work / "00ff" / "network")
    assert sorted(path.name for path in network.iterdir()) == ["network.keras", "training.json"]
    assert not objects.is_stored(other, other.work / "study" / "trial-3")


Filled = tuple[Store, Store, BatchId, str]


class TestBackup:
    """What lies in the bucket alone is in the backup."""

    @pytest.fixture
    def filled(self, machines: tuple[Settings, Settings]) -> Filled:
        one, other = new_store(machines[0]), open_store(machines[1])
        batch, snapshot = fill(one)
        objects.put(one.settings, one.settings.scores / "east" / "p1" / "bcd-idc-1-0")
        return one, other, batch, snapshot

    def test_of_a_machine_that_has_nothing_here(
        self, filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, other, batch, snapshot = filled
        first = make_backup(other, tmp_path / "to")
        restore_backup(tmp_path / "to", tmp_path / "new")
        restored = Settings(home=tmp_path / "new")
        assert open_pixels(restored, batch).tobytes() == open_pixels(other.settings, batch).tobytes()
        assert len(load_snapshot(restored, snapshot).patches) == len(PATCHES)
        assert (restored.scores / "east" / "p1" / "bcd-idc-1-0" / "report.html").read_text() == "a report"

        def refuse(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(Bucket, "download", refuse)  # an earlier backup holds it
        second = make_backup(other, tmp_path / "to")
        assert second.new_files == 0
        assert {file.path for file in second.manifest.files} == {file.path for file in first.manifest.files}

    def test_with_a_damaged_object_there_is_none(self, filled: Filled, tmp_path: Path) -> None:
        _, other, batch, _ = filled
        bucket = open_bucket(other.settings.store_url)
        key = bucket.find(f"files/store/batches/{batch}")[0]
        bucket.write(key, b"x")
        with pytest.raises(DamagedError, match=key):
            make_backup(other, tmp_path / "to")
        assert BackupFolder(tmp_path / "to").names() == []
