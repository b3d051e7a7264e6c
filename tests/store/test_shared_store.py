"""Machines that share catalog and store: what one admits and freezes another opens, and erasures reach both."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from delivering import encode, patch_files, write_zip
from s3 import Killed, die_at
from stored import new_store

from bcd.admission.admit import admit
from bcd.admission.release import release
from bcd.admission.report import admission_report_path
from bcd.errors import BcdError, NotFoundError, UnavailableError
from bcd.patches import BatchId, Hospital, PatientId
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import prepare_snapshot
from bcd.retention.patients import erase_withdrawn
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot, load_snapshot
from bcd.snapshots.manifest import list_snapshots
from bcd.snapshots.options import SplitOptions
from bcd.store import objects
from bcd.store.batches import open_pixels, read_batch_pixels
from bcd.store.bucket import Bucket, open_bucket
from bcd.store.copies import follow_changes
from bcd.store.delivery_queries import list_batches
from bcd.store.hospitals import declare_hospital
from bcd.store.objects import require
from bcd.store.patients import list_stored_patches
from bcd.store.place import Place
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.store.withdrawals import record_withdrawal

EAST, SIGN_OFF = Hospital("east"), SignOff("Mary", "test")


@pytest.fixture
def stores(machines: tuple[Settings, Settings], forgetful: None) -> Iterator[tuple[Store, Store]]:
    """The store as each machine opens it."""
    with new_store(machines[0]) as one, open_store(machines[1]) as other:
        declare_hospital(one, "east", "pseudonyms", SIGN_OFF)
        yield one, other


@pytest.fixture
def delivery(tmp_path: Path) -> Path:
    files = {
        name: data
        for number in range(8)
        for name, data in patch_files(f"p{number}", range(number * 4, number * 4 + 4)).items()
    }
    return write_zip(tmp_path / "may.zip", files)


def pixels(store: Store, patient: str) -> np.ndarray:
    return read_batch_pixels(store.settings, list_stored_patches(store, EAST, PatientId(patient)))


def test_what_one_machine_admits_and_freezes_another_prepares(stores: tuple[Store, Store], delivery: Path) -> None:
    one, other = stores
    admitted = admit(one, delivery, EAST)
    assert pixels(other, "p3").tobytes() == pixels(one, "p3").tobytes()
    frozen = freeze_snapshot(other, SplitOptions())
    assert frozen.batches == [admitted.batch]
    assert [each.id for each in list_snapshots(one.settings)] == [frozen.id]
    assert not (one.settings.snapshots / frozen.id).exists()  # a list fetches no snapshot
    opened = load_snapshot(one.settings, frozen.id[:8])
    assert opened.patches.equals(frozen.patches)
    prepared = [prepare_snapshot(each.settings, opened, PrepareOptions()).pixels for each in stores]
    assert prepared[0].tobytes() == prepared[1].tobytes()


def test_the_catalog_names_no_batch_that_the_bucket_lacks(
    stores: tuple[Store, Store], delivery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = stores

    def refuse(*_: object) -> None:
        raise UnavailableError("The store is away.", "Wait.")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "upload", refuse)
        with pytest.raises(UnavailableError):
            admit(one, delivery, EAST)
    assert list_batches(other) == []
    assert admit(other, delivery, EAST).admitted == 32
    assert len(pixels(one, "p7")) == 4


def test_an_admission_that_is_killed_at_any_call_of_the_bucket_is_repeated_elsewhere(
    stores: tuple[Store, Store], delivery: Path
) -> None:
    one, other = stores
    for step in (1, 3, 5):
        with pytest.MonkeyPatch.context() as patch:
            _die_at_call(patch, step)
            with pytest.raises(Killed):
                admit(one, delivery, EAST)
        assert list_batches(other) == []
    admitted = admit(other, delivery, EAST)
    assert (admitted.admitted, len(list_batches(one))) == (32, 1)
    assert len(pixels(one, "p7")) == 4


def test_what_a_machine_placed_and_did_not_enter_is_removed_by_the_next_that_admits(
    stores: tuple[Store, Store], delivery: Path, tmp_path: Path
) -> None:
    one, other = stores
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bcd.admission.settle.record_delivery", _die)
        with pytest.raises(Killed):
            admit(one, delivery, EAST)
    bucket = open_bucket(one.settings.store_url)
    [placed] = bucket.find("manifests/store/batches")
    admitted = admit(other, write_zip(tmp_path / "june.zip", patch_files("q1", range(50, 54))), EAST)
    assert bucket.find("manifests/store/batches") == [f"manifests/store/batches/{admitted.batch}.json"]
    assert bucket.find("manifests/store/unsettled") == bucket.find(placed.replace("manifests", "files")[:-5]) == []
    assert admit(one, delivery, EAST).admitted == 32  # the machine is back
    assert len(list_batches(other)) == 2
    assert len(pixels(other, "p7")) == 4


def _die(*_: object) -> None:
    raise Killed


def _die_at_call(patch: pytest.MonkeyPatch, step: int) -> None:
    left = [step]
    for name in ("read", "write", "upload", "find"):
        original = getattr(Bucket, name)

        def counted(self: Bucket, *args: object, original=original) -> object:
            left[0] -= 1
            if left[0] <= 0:
                raise Killed
            return original(self, *args)

        patch.setattr(Bucket, name, counted)


def test_a_file_that_one_machine_refused_is_released_by_another(stores: tuple[Store, Store], tmp_path: Path) -> None:
    one, other = stores
    blank = encode(np.full((50, 50, 3), 250, np.uint8))
    files = patch_files("p1", range(4)) | {"p1/1/p1_idx5_x901_y1_class1.png": blank}
    delivered = admit(one, write_zip(tmp_path / "june.zip", files), EAST)
    assert delivered.refused == {"blank": 1}
    done = release(other, delivered.id, ["p1_idx5_x901_y1_class1.png"], sign_off=SIGN_OFF)
    assert len(done.released) == 1
    report = admission_report_path(one.settings, delivered.id)
    assert "data:image" in require(one.settings, report).read_text()  # written anew there, with its pictures
    assert report.read_bytes() == admission_report_path(other.settings, delivered.id).read_bytes()


def test_an_unknown_snapshot_is_unknown_on_every_machine(stores: tuple[Store, Store]) -> None:
    with pytest.raises(NotFoundError):
        load_snapshot(stores[1].settings, "abc")


class TestErasure:
    """Pixels of a withdrawn patient go from the bucket and from every machine."""

    @pytest.fixture(autouse=True)
    def _no_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bcd.gate.history.list_versions_with_verdicts", lambda _settings: [])

    @pytest.fixture
    def batch(self, stores: tuple[Store, Store], delivery: Path) -> BatchId:
        batch = BatchId(str(admit(stores[0], delivery, EAST).batch))
        open_pixels(stores[1].settings, batch)
        for number in range(2):
            folder = stores[0].settings.scores / "east" / "p3" / f"v{number}"
            folder.mkdir(parents=True)
            (folder / "report.html").write_text("slide")
            objects.put(stores[0].settings, folder)
            objects.require(stores[1].settings, stores[1].settings.scores / "east" / "p3" / f"v{number}")
        record_withdrawal(stores[0], "p3", hospital="east", sign_off=SIGN_OFF)
        for store in stores:
            follow_changes(store.settings)
            (store.settings.prepared / "0").mkdir(parents=True)
        return batch

    def check(self, stores: tuple[Store, Store], batch: BatchId) -> None:
        for store in stores:
            patches = list_stored_patches(store, EAST, PatientId("p2"))
            assert read_batch_pixels(store.settings, patches).any()
            erased = open_pixels(store.settings, batch)
            assert np.flatnonzero(~erased.reshape(len(erased), -1).any(axis=1)).tolist() == [12, 13, 14, 15]
            follow_changes(store.settings)
            assert list(store.settings.scores.glob("east/p3/*")) == []
            assert not store.settings.prepared.exists()
        bucket = open_bucket("s3://east/bcd")
        assert bucket.find("files/scores") == bucket.find("manifests/scores") == []
        manifest = Place(stores[0].settings, stores[0].settings.batches / batch).read_manifest()
        assert manifest is not None
        held = {key.rpartition("/")[2] for key in bucket.find(f"files/store/batches/{batch}")}
        assert held == {file.sha256 for file in manifest.files.values()}  # no bytes of before

    def test_by_a_machine_that_has_nothing_of_it_here(self, stores: tuple[Store, Store], batch: BatchId) -> None:
        (done,) = erase_withdrawn(stores[1])
        assert done.erased == {batch: 4}
        self.check(stores, batch)

    def test_killed_at_steps_and_run_again(self, stores: tuple[Store, Store], batch: BatchId) -> None:
        def erase(_settings: Settings) -> None:
            erase_withdrawn(stores[1])

        step = 1
        while die_at(step, erase, stores[1].settings):
            shutil.rmtree(stores[1].settings.scores, ignore_errors=True)  # one that has nothing here
            step += 4
        assert step > 8
        erase_withdrawn(stores[1])
        self.check(stores, batch)
        with pytest.raises(BcdError):
            pixels(stores[1], "p3")
