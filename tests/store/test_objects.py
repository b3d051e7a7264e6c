"""The store in a bucket, with two homes as its caches: what is put by one machine is opened by the other."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from s3 import change_pixels, die_at, fetch_batch, make_all_room, put_batch, remove_batch
from s3fs import S3FileSystem

from bcd.errors import DamagedError, NotFoundError, UnavailableError
from bcd.settings import Settings
from bcd.store import objects
from bcd.store.bucket import Bucket, open_bucket
from bcd.store.copies import follow_changes, make_room
from bcd.store.objects import (
    changed_file,
    in_use,
    is_stored,
    list_stored,
    put,
    read_stored,
    remove,
    remove_files,
    require,
)

Machines = tuple[Settings, Settings]

FILES = {"index.parquet": b"index", "pixels.npy": b"pixels" * 1000, "val/curve.png": b"curve"}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a new process as far as it remembers what it compared."""
    monkeypatch.setattr(objects, "_compared", {})


def write(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".partial-"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def keys(settings: Settings) -> list[str]:
    bucket = open_bucket(settings.store_url)
    return [key for part in ("manifests", "files", "changed") for key in bucket.find(part)]


def forget() -> None:
    objects._compared.clear()


def test_without_a_store_nothing_is_copied_and_nothing_asked(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    folder = write(settings.batches / "b1")
    put(settings, folder)
    assert require(settings, settings.batches / "b2") == settings.batches / "b2"
    assert list_stored(settings, settings.batches, "*") == [folder]
    assert not settings.stored.exists()


def test_a_folder_that_one_machine_puts_another_opens(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    assert read(require(other, other.batches / "b1")) == FILES
    assert list_stored(other, other.batches, "*") == [other.batches / "b1"]


def test_a_single_file_is_put_and_the_last_one_counts(machines: Machines) -> None:
    one, other = machines
    write(one.work, {"last-plan": b"first"})
    put(one, one.work / "last-plan")
    assert require(other, other.work / "last-plan").read_bytes() == b"first"
    write(other.work, {"last-plan": b"second"})
    put(other, other.work / "last-plan")
    assert require(one, one.work / "last-plan").read_bytes() == b"second"
    assert len([key for key in keys(one) if key.startswith("files/")]) == 1


def test_what_nobody_put_is_not_there_and_nothing_is_made(machines: Machines) -> None:
    one, _ = machines
    assert not require(one, one.batches / "b1").exists()
    assert not is_stored(one, one.batches / "b1")
    with pytest.raises(FileNotFoundError):
        read_stored(one, one.batches / "b1", "index.parquet")


def test_one_file_is_read_without_the_folder(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    assert read_stored(other, other.batches / "b1", "index.parquet") == b"index"
    assert is_stored(other, other.batches / "b1")
    assert not (other.batches / "b1").exists()


def test_of_the_same_folder_by_two_machines_the_first_counts(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    put(other, write(other.batches / "b1", {**FILES, "index.parquet": b"of another library"}))
    assert read(other.batches / "b1") == FILES


def test_locks_and_what_killed_processes_left_are_not_put(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1", {"lock": b"", ".partial-vm-1-x.npy": b"", **FILES}))
    assert read(require(other, other.batches / "b1")) == FILES


def test_a_file_changed_there_is_changed_here_when_it_is_opened(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    require(other, other.batches / "b1")
    with changed_file(one, one.batches / "b1", "pixels.npy") as partial:
        partial.write_bytes(b"zeros")
    assert (one.batches / "b1" / "pixels.npy").read_bytes() == b"zeros"
    forget()
    assert read(require(other, other.batches / "b1")) == {**FILES, "pixels.npy": b"zeros"}
    assert len([key for key in keys(one) if key.startswith("files/")]) == len(FILES)  # the old bytes are gone


def test_a_file_removed_there_is_removed_here_when_its_folder_is_opened(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    require(other, other.batches / "b1")
    remove_files(one, one.batches / "b1", ["pixels.npy", "index.parquet"])
    forget()
    assert [sorted(read(require(each, each.batches / "b1"))) for each in machines] == [["val/curve.png"]] * 2
    assert len([key for key in keys(one) if key.startswith("files/")]) == 1


def test_what_is_removed_is_removed_there_and_from_other_machines(machines: Machines) -> None:
    one, other = machines
    for name in ("v1", "v2"):
        put(one, write(one.scores / "east" / "8867" / name))
        require(other, other.scores / "east" / "8867" / name)
    put(one, write(one.scores / "east" / "88" / "v1"))
    remove(one, one.scores / "east" / "8867")
    assert not (one.scores / "east" / "8867").exists()
    assert {key.split("/")[3] for key in keys(one) if not key.startswith("changed/")} == {"88"}
    forget()
    assert not require(other, other.scores / "east" / "8867" / "v1").exists()  # opened
    follow_changes(other)
    assert not (other.scores / "east" / "8867" / "v2").exists()  # not opened


def test_a_change_that_could_not_be_followed_is_asked_for_again(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    require(other, other.batches / "b1")
    with changed_file(one, one.batches / "b1", "pixels.npy") as partial:
        partial.write_bytes(b"zeros")
    bucket = open_bucket(one.store_url)
    [key] = [key for key in bucket.find("files") if bucket.read(key) == b"zeros"]
    bucket.write(key, b"ZEROS")
    follow_changes(other)
    assert read(other.batches / "b1") == FILES
    bucket.write(key, b"zeros")
    follow_changes(other)
    assert (other.batches / "b1" / "pixels.npy").read_bytes() == b"zeros"


def test_what_another_machine_removed_is_put_again_where_it_is_made_again(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    remove(other, other.batches / "b1")
    put(one, one.batches / "b1")
    forget()
    assert read(require(one, one.batches / "b1")) == read(require(other, other.batches / "b1")) == FILES


def test_what_the_bucket_lost_is_put_again_by_who_has_it(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    bucket = open_bucket(one.store_url)
    for key in keys(one):
        bucket.delete(key)
    forget()
    assert read(require(one, one.batches / "b1")) == FILES
    assert read(require(other, other.batches / "b1")) == FILES


@pytest.mark.parametrize("fault", ["flipped", "missing", "manifest"])
def test_a_damaged_or_missing_object_is_named_and_nothing_is_made_of_it(machines: Machines, fault: str) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    bucket = open_bucket(one.store_url)
    file = max(bucket.find("files"), key=lambda key: len(bucket.read(key) or b""))
    key = "manifests/store/batches/b1.json" if fault == "manifest" else file
    if fault == "missing":
        bucket.delete(key)
    else:
        bucket.write(key, b"x" * len(bucket.read(key) or b""))
    with pytest.raises(DamagedError) as error:
        require(other, other.batches / "b1")
    assert f"s3://east/bcd/{key}" in error.value.what
    assert "store/batches/b1" in error.value.what
    assert not (other.batches / "b1").exists()
    assert list(other.batches.glob(".partial-*")) == []
    for each in {key, "manifests/store/batches/b1.json"}:  # what the message says to do
        bucket.delete(each)
    forget()
    require(one, one.batches / "b1")
    assert read(require(other, other.batches / "b1")) == FILES


def test_a_store_out_of_reach_is_told_from_a_bucket_that_is_not_there(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    folder = write(one.batches / "b1")
    nowhere = one.model_copy(update={"store_url": "s3://nowhere/bcd"})
    with pytest.raises(NotFoundError, match="nowhere"):
        require(nowhere, folder)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()  # as a new process
    try:
        with pytest.raises(UnavailableError, match="s3://east/bcd"):
            put(one, folder)
    finally:
        S3FileSystem.clear_instance_cache()


class TestMakeRoom:
    """The cache is bounded; what was used longest ago goes first."""

    @pytest.fixture
    def full(self, machines: Machines) -> Settings:
        one = machines[0]
        for number in range(4):
            put(one, write(one.batches / f"b{number}", {"pixels.npy": bytes([number]) * 1000}))
            os.utime(one.stored / f"store/batches/b{number}.json", (number, number))
        return one.model_copy(update={"store_cache_gb": 2500e-9})

    def test_what_was_used_longest_ago_goes_and_comes_again(self, full: Settings) -> None:
        require(full, full.batches / "b0")
        make_room(full)
        assert sorted(path.name for path in full.batches.glob("b*")) == ["b0", "b3"]
        forget()
        assert read(require(full, full.batches / "b1")) == {"pixels.npy": b"\x01" * 1000}

    def test_what_is_in_use_stays(self, full: Settings) -> None:
        with in_use(full, full.batches / "b1"):
            make_room(full.model_copy(update={"store_cache_gb": 0.0}))
            assert [path.name for path in full.batches.glob("b*")] == ["b1"]
        make_room(full.model_copy(update={"store_cache_gb": 0.0}))
        assert list(full.batches.glob("b*")) == []

    def test_what_the_bucket_does_not_hold_stays(self, full: Settings) -> None:
        write(full.batches / "b9")
        make_room(full.model_copy(update={"store_cache_gb": 0.0}))
        assert [path.name for path in full.batches.glob("b*")] == ["b9"]

    def test_it_is_made_while_folders_are_put(self, full: Settings) -> None:
        for number in range(4, 10):
            put(full, write(full.batches / f"b{number}", {"pixels.npy": bytes([number]) * 1000}))
        assert len(list(full.batches.glob("b*"))) == 2

    def test_a_process_that_is_killed_at_it_leaves_no_half_folder(self, full: Settings) -> None:
        step = 1
        while die_at(step, make_all_room, full):
            for folder in full.batches.glob("b*"):
                assert len(read(folder)) == 1
            step += 1
        assert step > 4
        assert list(full.batches.glob("b*")) == []


class TestKilled:
    """A process that is killed at any step leaves nothing half-put, and the same again ends as undisturbed."""

    def test_at_a_put(self, machines: Machines) -> None:
        one, other = machines
        folder = write(one.batches / "b1")
        step = 1
        while die_at(step, put_batch, one):
            forget()
            assert is_stored(other, other.batches / "b1") == (read(require(other, other.batches / "b1")) == FILES)
            shutil.rmtree(other.batches / "b1", ignore_errors=True)
            assert read(folder) == FILES
            step += 1
        assert step > len(FILES)  # what was put before a kill is not put again
        forget()
        assert read(require(other, other.batches / "b1")) == FILES

    def test_at_a_fetch(self, machines: Machines) -> None:
        one, other = machines
        put(one, write(one.batches / "b1"))
        step = 1
        while die_at(step, fetch_batch, other):
            assert read(other.batches / "b1") in ({}, FILES)
            shutil.rmtree(other.batches / "b1", ignore_errors=True)
            step += 1
        assert step > len(FILES) + 2
        assert read(other.batches / "b1") == FILES

    def test_in_truth_nothing_is_left_over(self, machines: Machines) -> None:
        one, other = machines
        write(one.batches / "b1")
        assert die_at(4, put_batch, one, really=True)
        assert not is_stored(other, other.batches / "b1")
        put_batch(one)
        assert die_at(4, fetch_batch, other, really=True)
        assert not (other.batches / "b1").exists()
        assert len(list(other.batches.iterdir())) == 1
        fetch_batch(other)
        assert [path.name for path in other.batches.iterdir()] == ["b1"]
        assert read(other.batches / "b1") == FILES

    def test_at_a_change(self, machines: Machines) -> None:
        one, other = machines
        put(one, write(one.batches / "b1"))
        require(other, other.batches / "b1")
        step, new = 1, {**FILES, "pixels.npy": b"zeros"}
        while die_at(step, change_pixels, one):
            forget()
            mine, theirs = (read(require(each, each.batches / "b1")) for each in machines)
            assert mine == theirs
            assert mine in (FILES, new)
            step += 1
        forget()
        assert read(require(one, one.batches / "b1")) == read(require(other, other.batches / "b1")) == new

    def test_two_machines_that_put_the_same_folder_at_once_leave_one_that_is_whole(
        self, machines: Machines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = machines
        write(one.batches / "b1")
        write(other.batches / "b1", {**FILES, "report.html": b"drawn at another time"})
        upload = Bucket.upload

        def meanwhile(bucket: Bucket, source: Path, key: str) -> None:
            monkeypatch.setattr(Bucket, "upload", upload)
            upload(bucket, source, key)
            put(other, other.batches / "b1")

        monkeypatch.setattr(Bucket, "upload", meanwhile)
        put(one, one.batches / "b1")
        forget()
        assert read(require(one, one.batches / "b1")) == read(require(other, other.batches / "b1"))

    def test_at_a_removal(self, machines: Machines) -> None:
        one, other = machines
        put(one, write(one.batches / "b1"))
        require(other, other.batches / "b1")
        step = 1
        while die_at(step, remove_batch, one):
            step += 1
        forget()
        assert not require(one, one.batches / "b1").exists()
        assert not require(other, other.batches / "b1").exists()
        assert [key for key in keys(one) if not key.startswith("changed/")] == []


def test_a_machine_waits_for_the_process_that_fetches(machines: Machines) -> None:
    one, other = machines
    put(one, write(one.batches / "b1"))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fetch_batch, args=(other,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert read(other.batches / "b1") == FILES
    assert [path.name for path in other.batches.iterdir()] == ["b1"]
