"""A backup is whole, consistent while others write, and copies only what is new."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from filelock import Timeout
from stored import store_patients

from bcd.errors import BcdError, UnavailableError
from bcd.files import lock_file
from bcd.patches import BatchId, Hospital
from bcd.progress import Advance, SilentSink, show_progress
from bcd.retention.backup.folder import BackupFolder, BackupManifest
from bcd.retention.backup.make import Backup, make_backup
from bcd.retention.backup.restore import restore_backup
from bcd.retention.patients import erase_withdrawn
from bcd.retention.versions import prune_versions
from bcd.settings import Settings
from bcd.store.batches import open_pixels
from bcd.store.delivery_queries import list_batches
from bcd.store.hospitals import declare_hospital
from bcd.store.pseudonyms import open_pseudonyms
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def objects(folder: Path) -> set[str]:
    return {path.name for path in (folder / "objects").rglob("*") if path.is_file()}


def contents(manifest: BackupManifest) -> dict[str, str]:
    return {file.path: file.sha256 for file in manifest.files}


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_can_be_made_again_is_left_out_and_so_are_deliveries(home: Settings, store: Store, to: Path) -> None:
    [batch] = list_batches(store)
    for name in (
        "cache/prepared/p.npy",
        "logs/worker.log",
        "servers.json",
        "work/study/lock",
        "mlflow/.lock",
        f"scores/.partial-here-{os.getpid()}-x/report.html",
        "inbox/east/today.zip",
        "received/east/yesterday.zip",
    ):
        write(home.home / name)
    write(home.mlflow / "artifacts" / "models" / "m-1" / "network.keras")

    manifest = make_backup(store, to).manifest
    with_deliveries = make_backup(store, to, deliveries=True).manifest

    expected = {
        "bcd.toml",
        "catalog.db",
        "mlflow/artifacts/models/m-1/network.keras",
        "scores/east/1001/bcd-idc-1-0123456789ab/report.html",
        f"store/batches/{batch.batch}/index.parquet",
        f"store/batches/{batch.batch}/pixels.npy",
    }
    assert set(contents(manifest)) == expected
    assert set(contents(with_deliveries)) == expected | {"inbox/east/today.zip", "received/east/yesterday.zip"}
    assert any("inbox, received" in sentence for sentence in manifest.elsewhere)
    assert with_deliveries.elsewhere == []


def test_a_folder_that_is_linked_to_another_disk_is_copied_and_a_circle_ends(
    home: Settings, store: Store, to: Path, tmp_path: Path
) -> None:
    write(tmp_path / "disk" / "reports" / "page.html")
    home.reports.symlink_to(tmp_path / "disk" / "reports")
    (tmp_path / "disk" / "reports" / "circle").symlink_to(tmp_path / "disk" / "reports")

    paths = set(contents(make_backup(store, to).manifest))

    assert {path for path in paths if path.startswith("reports")} == {"reports/page.html"}


def test_a_second_backup_copies_only_what_is_new(home: Settings, store: Store, to: Path) -> None:
    first = make_backup(store, to)
    again = make_backup(store, to)
    before = objects(to)
    batch = store_patients(store, ["1003"])
    third = make_backup(store, to)

    assert (first.new_files, again.new_files, again.new_bytes) == (len(first.manifest.files), 0, 0)
    new = {path for path, digest in contents(third.manifest).items() if digest not in before}
    assert new == {"catalog.db", f"store/batches/{batch}/index.parquet", f"store/batches/{batch}/pixels.npy"}
    assert third.new_files == len(objects(to) - before) == 3
    assert BackupFolder(to).names() == [backup.manifest.name for backup in (first, again, third)]


def test_a_file_that_did_not_change_is_not_read_again(
    home: Settings, store: Store, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_backup(store, to)
    report = next(home.scores.rglob("report.html"))
    report.write_text("another report")
    read: list[str] = []
    add = BackupFolder.add

    def note(folder: BackupFolder, source: Path, partial: Path, advance: Advance) -> tuple[str, int, bool]:
        read.append(source.name)
        return add(folder, source, partial, advance)

    monkeypatch.setattr(BackupFolder, "add", note)

    make_backup(store, to)

    assert read == ["database", "report.html"]


def test_an_object_that_was_lost_is_copied_again(home: Settings, store: Store, to: Path) -> None:
    folder, manifest = BackupFolder(to), make_backup(store, to).manifest
    folder.place(manifest.files[-1].sha256).unlink()
    assert make_backup(store, to).new_files == 1
    assert folder.holds(manifest.files[-1].sha256, manifest.files[-1].size)


def test_whatever_a_backup_names_is_there_while_others_write(
    home: Settings, store: Store, to: Path, tmp_path: Path
) -> None:
    is_done = threading.Event()
    started = threading.Event()

    def admit_on() -> None:
        own = open_store(home)
        for number in count():
            store_patients(own, [f"2{number:03}"])
            started.set()
            if is_done.is_set():
                return

    writer = threading.Thread(target=admit_on)
    writer.start()
    assert started.wait(60)
    try:
        names = [make_backup(store, to).manifest.name for _ in range(4)]
    finally:
        is_done.set()
        writer.join()

    seen = []
    for name in names:
        restore_backup(to, tmp_path / name, name=name)
        restored = Settings(home=tmp_path / name)
        with sqlite3.connect(restored.home / "catalog.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        batches = list_batches(open_store(restored))
        assert all(len(open_pixels(restored, BatchId(str(batch.batch)))) == batch.admitted for batch in batches)
        seen.append(len(batches))
    assert seen == sorted(seen)
    assert seen[-1] > seen[0] >= 2


def test_killed_at_any_step_it_is_completed_by_the_next(home: Settings, store: Store, tmp_path: Path, die_at) -> None:
    expected = contents(make_backup(store, tmp_path / "undisturbed").manifest)
    store.engine.dispose()
    kills = 0
    for step in range(1, 200):
        to = tmp_path / f"killed-{step}"
        was_killed = die_at(lambda to=to: make_backup(open_store(home), to), to, step)
        if not was_killed:
            break
        kills += 1
        left = BackupFolder(to).names()
        assert all(contents(BackupFolder(to).read(name)) == expected for name in left)
        made = make_backup(store, to).manifest
        assert contents(made) == expected
        assert all(BackupFolder(to).holds(file.sha256, file.size) for file in made.files)
        assert not list((to / "objects").rglob(".partial-*"))
        assert not list(to.glob(".partial-*"))
        store.engine.dispose()
    assert kills > 15


def test_a_full_disk_is_told_and_the_next_goes_on(
    home: Settings, store: Store, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(to / "objects"))

    with monkeypatch.context() as patch:
        patch.setattr("bcd.retention.backup.folder.keep_file", fail)
        with pytest.raises(UnavailableError, check=lambda error: error.__cause__.errno == errno.ENOSPC):
            make_backup(store, to)
    assert BackupFolder(to).names() == []
    assert make_backup(store, to).new_files == 6 - 1


class _AtFiles(SilentSink):
    """Calls something when the databases are copied and the files are about to be."""

    def __init__(self, call) -> None:
        self._call = call

    @contextmanager
    def track(self, description: str, total: float | None) -> Iterator[Advance]:
        if "files" in description:
            self._call()
        yield lambda _amount: None


@pytest.mark.parametrize(
    "remove",
    [erase_withdrawn, partial(prune_versions, keep=1)],
    ids=["patients", "versions"],
)
def test_nothing_is_removed_while_it_is_copied(registry_settings: Settings, to: Path, remove) -> None:
    home, store = registry_settings, open_store(registry_settings)
    removals: list[threading.Thread] = []
    waits: list[bool] = []

    def begin_removal() -> None:
        removals.append(threading.Thread(target=remove, args=(open_store(home),)))
        removals[0].start()
        removals[0].join(1)
        waits.append(removals[0].is_alive())
        with pytest.raises(Timeout):
            lock_file(home.home / ".locks" / ".retention.lock").acquire(timeout=0)

    with show_progress(_AtFiles(begin_removal)):
        make_backup(store, to)
    removals[0].join(60)
    assert (waits, removals[0].is_alive()) == ([True], False)


def test_databases_elsewhere_are_named_with_the_command_and_without_a_password(
    home: Settings, store: Store, to: Path, tmp_path: Path
) -> None:
    write(tmp_path / "other.db")
    elsewhere = {
        "study_url": "postgresql+psycopg://bcd:secret@db.east:5432/studies",
        "mlflow_url": "http://mlflow.east:5000",
    }
    studies, mlflow = make_backup(replace(store, settings=home.model_copy(update=elsewhere)), to).manifest.elsewhere
    assert "pg_dump --format=custom --file=studies.dump postgresql://bcd@db.east:5432/studies" in studies
    assert "secret" not in studies
    assert "http://mlflow.east:5000" in mlflow

    settings = home.model_copy(update={"catalog_url": f"sqlite:///{tmp_path / 'other.db'}"})
    [told] = make_backup(replace(store, settings=settings), to).manifest.elsewhere
    assert f"sqlite3 {tmp_path}/other.db '.backup '" in told


def test_a_catalog_on_postgresql_is_left_to_pg_dump(home: Settings, to: Path, postgres_url: str) -> None:
    (home.home / "catalog.db").unlink()
    settings = home.model_copy(update={"catalog_url": postgres_url})
    manifest = make_backup(open_store(settings), to).manifest
    assert "catalog.db" not in contents(manifest)
    [told] = manifest.elsewhere
    assert "pg_dump --format=custom --file=catalog.dump" in told


@pytest.fixture
def raw_home(home: Settings, store: Store) -> Settings:
    declare_hospital(store, "west", "raw", SignOff("Dr Lee", "test"))
    open_pseudonyms(store, Hospital("west"))
    return home


def made(store: Store, to: Path, keys: Path | None = None) -> Backup:
    return make_backup(store, to, keys=keys)


def test_the_key_goes_to_a_folder_of_its_own_or_nowhere(
    raw_home: Settings, store: Store, to: Path, tmp_path: Path
) -> None:
    key = (raw_home.keys / "pseudonyms.key").read_bytes()
    backup = made(store, to)
    assert backup.manifest.key is not None
    assert not any(key.strip() in path.read_bytes() for path in to.rglob("*") if path.is_file())
    assert not list(tmp_path.glob("apart*"))

    for _ in range(2):
        made(store, to, tmp_path / "apart")
    copy = tmp_path / "apart" / "pseudonyms.key"
    assert (copy.read_bytes(), stat.S_IMODE(copy.stat().st_mode)) == (key, 0o600)
    assert [path.name for path in copy.parent.iterdir()] == ["pseudonyms.key"]


def test_the_key_is_never_put_beside_the_data_nor_over_another_key(
    raw_home: Settings, store: Store, to: Path, tmp_path: Path
) -> None:
    for beside in (to, to / "keys", raw_home.home / "keys", tmp_path):
        with pytest.raises(BcdError, match=re.escape(str(beside))):
            made(store, to, beside)
    write(tmp_path / "apart" / "pseudonyms.key", "another")
    with pytest.raises(BcdError, match=r"apart/pseudonyms\.key"):
        made(store, to, tmp_path / "apart")
    assert (tmp_path / "apart" / "pseudonyms.key").read_text() == "another"
    assert BackupFolder(to).names() == []


def test_a_folder_in_the_home_or_of_somebody_else_is_refused(home: Settings, store: Store, tmp_path: Path) -> None:
    write(tmp_path / "photos" / "holiday.png")
    for folder in (home.home / "backups", home.home, home.home.parent, tmp_path / "photos"):
        with pytest.raises(BcdError):
            make_backup(store, folder)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.png"]
    assert not (home.home / "backups").exists()
