"""Prepared snapshots: made once, in chunks, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.patches import SnapshotId
from bcd.preprocessing import prepared as module
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.preprocessing.prepared import prepare_snapshot
from bcd.settings import Settings
from bcd.store.snapshots import Snapshot

RAW = np.random.default_rng(0).integers(0, 256, (20, 50, 50, 3), dtype=np.uint8)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with one batch of twenty patches."""
    settings = Settings(home=tmp_path)
    (settings.batches / "b").mkdir(parents=True)
    np.save(settings.batches / "b" / "pixels.npy", RAW)
    return settings


@pytest.fixture
def snapshot() -> Snapshot:
    """Sixteen of the twenty patches, in another order than the batch's."""
    rows = np.random.default_rng(1).permutation(20)[:16]
    patches = pd.DataFrame(
        {
            "hospital": "east",
            "patient": [f"p{i // 4}" for i in range(16)],
            "label": np.arange(16, dtype=np.int8) % 2,
            "split": ["train"] * 8 + ["val"] * 4 + ["train"] * 4,
            "batch": "b",
            "row": rows,
        }
    )
    return Snapshot(SnapshotId("5" * 64), "dealt", patches)


def test_row_i_is_the_prepared_patch_of_row_i_of_the_snapshot(
    settings: Settings, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 5)
    prepared = prepare_snapshot(settings, snapshot, PrepareOptions())
    expected = prepare(RAW[snapshot.patches["row"]], PrepareOptions())
    np.testing.assert_array_equal(prepared.pixels, expected)
    assert isinstance(prepared.pixels, np.memmap)


def test_a_split_has_its_own_pixels_labels_and_patients(settings: Settings, snapshot: Snapshot) -> None:
    prepared = prepare_snapshot(settings, snapshot, PrepareOptions())
    pixels, labels, patients = prepared.split("train")
    rows = [*range(8), *range(12, 16)]
    np.testing.assert_array_equal(pixels, prepared.pixels[rows])
    np.testing.assert_array_equal(labels, [0, 1] * 6)
    assert list(patients) == ["east/p0"] * 4 + ["east/p1"] * 4 + ["east/p3"] * 4
    assert [len(part) for part in prepared.split("gate")] == [0, 0, 0]


def test_a_snapshot_is_prepared_once_for_each_set_of_options(
    settings: Settings, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_snapshot(settings, snapshot, PrepareOptions())
    plain = prepare_snapshot(settings, snapshot, PrepareOptions(sharpen=False))
    np.testing.assert_array_equal(plain.pixels, RAW[snapshot.patches["row"]])
    monkeypatch.setattr(module, "prepare", None)  # a second preparation would fail
    prepare_snapshot(settings, snapshot, PrepareOptions())
    prepare_snapshot(settings, snapshot, PrepareOptions(sharpen=False))
    assert len(list(settings.prepared.iterdir())) == 2


def test_a_preparation_that_was_stopped_leaves_nothing_and_is_done_again(
    settings: Settings, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def stop_at_the_second(pixels: np.ndarray, options: PrepareOptions) -> np.ndarray:
        calls.append(len(pixels))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return prepare(pixels, options)

    monkeypatch.setattr(module, "_CHUNK", 5)
    monkeypatch.setattr(module, "prepare", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        prepare_snapshot(settings, snapshot, PrepareOptions())
    assert list(settings.prepared.iterdir()) == []
    assert len(prepare_snapshot(settings, snapshot, PrepareOptions()).pixels) == 16
