from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from bcd.errors import BcdError
from bcd.patches import CANONICAL, Hospital, PatientId
from bcd.settings import Settings
from bcd.store import batches
from bcd.store.batches import BatchIndex, hash_rows, open_pixels, read_batch_pixels, write_batch
from bcd.store.delivery_queries import list_batches
from bcd.store.patients import list_stored_patches
from bcd.store.spool import open_store_spool
from bcd.store.store import Store


def _flat(*values: int) -> np.ndarray:
    return np.stack([np.full((50, 50, 3), value, np.uint8) for value in values])


def test_pixels_come_in_the_order_of_the_frame_across_batches(settings: Settings, store_batch) -> None:
    first, second = store_batch(["a", "b"]), store_batch(["c"], labels=(0, 1, 0))
    wanted = pd.DataFrame({"batch": [second, first, second, first], "row": [2, 3, 0, 1]}, index=[7, 7, 3, 1])
    pixels = read_batch_pixels(settings, wanted)
    assert pixels.shape == (4, 50, 50, 3)
    assert pixels[:, 0, 0, 0].tolist() == [2, 3, 0, 1]


def test_pixels_are_mapped_not_read(settings: Settings, store_batch) -> None:
    pixels = open_pixels(settings, store_batch(["a"]))
    assert isinstance(pixels.base, np.memmap) or isinstance(pixels, np.memmap)
    assert not pixels.flags.writeable


def test_rows_of_a_patient_lead_to_its_own_pixels(store: Store, store_batch) -> None:
    store_batch(["a", "b"])
    patches = list_stored_patches(store, Hospital("east"), PatientId("b"))
    assert read_batch_pixels(store.settings, patches)[:, 0, 0, 0].tolist() == [2, 3]


def test_a_batch_is_gathered_into_canonical_order(settings: Settings, make_index) -> None:
    index = make_index("east", ["a"], [0, 1, None])
    with open_store_spool(settings) as spool:
        assert [spool.append(_flat(30)), spool.append(_flat(10, 20))] == [0, 1]
        batch = write_batch(settings, BatchIndex.of(index), spool, np.array([1, 2, 0]))
    assert open_pixels(settings, batch)[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert pd.read_parquet(settings.batches / batch / "index.parquet").equals(index)
    assert [path.name for path in settings.batches.iterdir()] == [batch]


def test_a_spool_in_the_right_order_becomes_the_batch_without_being_copied(settings: Settings, make_index) -> None:
    with open_store_spool(settings) as spool:
        spool.append(_flat(10, 20))
        written = spool.path.stat().st_ino
        batch = write_batch(settings, BatchIndex.of(make_index("east", ["a"], [0, 1])), spool, np.arange(2))
    assert open_pixels(settings, batch)[:, 0, 0, 0].tolist() == [10, 20]
    assert (settings.batches / batch / "pixels.npy").stat().st_ino == written


def test_only_the_chosen_rows_of_a_spool_become_the_batch(settings: Settings, make_index) -> None:
    with open_store_spool(settings) as spool:
        spool.append(_flat(10, 20, 30))
        batch = write_batch(settings, BatchIndex.of(make_index("east", ["a"], [0, 1])), spool, np.array([0, 2]))
    assert open_pixels(settings, batch)[:, 0, 0, 0].tolist() == [10, 30]


def test_a_batch_that_was_undone_can_be_written_again_from_the_same_spool(settings: Settings, make_index) -> None:
    with open_store_spool(settings) as spool:
        spool.append(_flat(10, 20))
        index = make_index("east", ["a"], [0, 1])
        shutil.rmtree(settings.batches / write_batch(settings, BatchIndex.of(index), spool, np.arange(2)))
        again = write_batch(settings, BatchIndex.of(index), spool, np.arange(2))
    assert open_pixels(settings, again)[:, 0, 0, 0].tolist() == [10, 20]


def test_a_spool_that_no_batch_took_over_leaves_nothing(settings: Settings) -> None:
    with open_store_spool(settings) as spool:
        spool.append(_flat(1))
    assert not list(settings.batches.iterdir())


@pytest.mark.parametrize("size", [1, 2, 3, 6, 100])
def test_an_index_made_in_parts_is_the_same_index(
    settings: Settings, make_index, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    frame = make_index("east", ["a", "b"], [0, 1, None])
    whole = BatchIndex.of(frame)
    assert pd.concat(whole.parts(size), ignore_index=True).equals(frame)
    monkeypatch.setattr(BatchIndex.parts, "__defaults__", (size,))
    monkeypatch.setattr(batches, "HASHED", size)
    assert BatchIndex.of(frame).identity == hash_rows(frame, [*CANONICAL, "label", "pixel_sha256"])
    with open_store_spool(settings) as spool:
        spool.append(_flat(*range(6)))
        batch = write_batch(settings, BatchIndex.of(frame), spool, np.arange(6))
    assert pd.read_parquet(settings.batches / batch / "index.parquet").equals(frame)


@pytest.mark.parametrize("column", ["hospital", "patient", "slide", "x", "label", "pixel_sha256"])
def test_whatever_a_batch_says_is_part_of_its_identity(column: str, make_index) -> None:
    index = make_index("east", ["a"], [0, 1])
    changed = index.copy()
    changed.loc[0, column] = 1 if column in {"x", "label"} else "9"
    changed.loc[0, "x"] = 101 if column == "x" else changed.loc[0, "x"]
    assert BatchIndex.of(changed).identity != BatchIndex.of(index).identity


def test_the_name_of_a_source_file_is_not_part_of_the_identity(make_index) -> None:
    index = make_index("east", ["a"], [0, None])
    changed = index.assign(sha256="another encoding of the same pixels")
    assert BatchIndex.of(changed).identity == BatchIndex.of(index).identity


def test_batches_are_listed_in_the_order_of_their_admission(store: Store, store_batch) -> None:
    ids = [store_batch([name]) for name in ("z", "a", "m")]
    listed = list_batches(store)
    assert [batch.batch for batch in listed] == ids
    assert (listed[0].admitted, listed[0].patients, listed[0].refused) == (2, 1, {})
    assert listed[0].admitted_at.utcoffset() is not None


def test_a_batch_that_is_gone_from_the_disk_is_named(settings: Settings, store_batch) -> None:
    batch = store_batch(["a"])
    shutil.rmtree(settings.batches / batch)
    with pytest.raises(BcdError, match=batch[:12]):
        open_pixels(settings, batch)
