"""Prepared snapshots: made once, in chunks, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from patients import freeze_patches, list_patches

from bcd.errors import BcdError
from bcd.patches import SnapshotId
from bcd.preprocessing import prepared as module
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.preprocessing.prepared import prepare_snapshot
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot

RAW = np.random.default_rng(0).integers(0, 256, (20, 50, 50, 3), dtype=np.uint8)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    """Sixteen of the twenty patches of a batch, in another order than the batch's."""
    splits = {f"p{number}": "val" if number == 2 else "train" for number in range(5)}
    whole = freeze_patches(settings, list_patches(splits, [0, 1] * 2), RAW)
    rows = np.random.default_rng(1).permutation(20)[:16]
    return replace(whole, patches=whole.patches.head(16).assign(row=rows))


def test_row_i_is_the_prepared_patch_of_row_i_of_the_snapshot(settings: Settings, snapshot: Snapshot) -> None:
    prepared = prepare_snapshot(settings, snapshot, PrepareOptions(), chunk=5)
    expected = prepare(RAW[snapshot.patches["row"]], PrepareOptions())
    np.testing.assert_array_equal(prepared.pixels, expected)
    assert isinstance(prepared.pixels, np.memmap)


def test_a_split_has_its_own_pixels_labels_and_patients(settings: Settings, snapshot: Snapshot) -> None:
    prepared = prepare_snapshot(settings, snapshot, PrepareOptions())
    pixels, labels, patients = prepared.split("train")
    rows = [*range(8), *range(12, 16)]
    np.testing.assert_array_equal(pixels[:], prepared.pixels[rows])
    np.testing.assert_array_equal(pixels[3:5], prepared.pixels[rows[3:5]])
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

    monkeypatch.setattr(module, "prepare", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        prepare_snapshot(settings, snapshot, PrepareOptions(), chunk=5)
    assert list(settings.prepared.iterdir()) == []
    assert len(prepare_snapshot(settings, snapshot, PrepareOptions()).pixels) == 16


@pytest.mark.parametrize("damage", ["short", "long", "empty", "gone", "of another shape"])
def test_a_damaged_preparation_is_made_again(settings: Settings, snapshot: Snapshot, damage: str) -> None:
    expected = np.array(prepare_snapshot(settings, snapshot, PrepareOptions()).pixels)
    (file,) = settings.prepared.glob("*/pixels.npy")
    content = file.read_bytes()
    if damage == "of another shape":
        np.save(file, expected[:, :49])
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"short": content[:-7500], "long": content + b"0", "empty": b""}[damage])
    np.testing.assert_array_equal(prepare_snapshot(settings, snapshot, PrepareOptions()).pixels, expected)
    assert file.read_bytes() == content


def test_a_preparation_goes_by_content_and_not_by_where_things_lie(
    settings: Settings, snapshot: Snapshot, tmp_path: Path
) -> None:
    prepare_snapshot(settings, snapshot, PrepareOptions())
    moved = Settings(home=tmp_path / "elsewhere")
    moved.prepared.parent.mkdir(parents=True)
    settings.prepared.rename(moved.prepared)
    found = prepare_snapshot(moved, snapshot, PrepareOptions())  # it has no batches: nothing could be made
    assert len(found.pixels) == 16
    with pytest.raises(BcdError, match="missing"):
        prepare_snapshot(moved, replace(snapshot, id=SnapshotId("6" * 64)), PrepareOptions())


def test_no_more_than_a_chunk_is_prepared_at_a_time(
    settings: Settings, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def note(pixels: np.ndarray, options: PrepareOptions) -> np.ndarray:
        sizes.append(len(pixels))
        return prepare(pixels, options)

    monkeypatch.setattr(module, "prepare", note)
    prepare_snapshot(settings, snapshot, PrepareOptions(), chunk=5)
    assert sizes == [5, 5, 5, 1]
