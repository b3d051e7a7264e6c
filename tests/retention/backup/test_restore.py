"""A home is restored elsewhere, whole or not at all, and scores the same patient to the same report."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from stored import store_patients

from bcd.bundle.registry import Bundle, load_bundle
from bcd.errors import BcdError, NotFoundError, UnavailableError
from bcd.patches import BatchId, Hospital, PatientId
from bcd.retention.backup.folder import BackupFolder
from bcd.retention.backup.make import make_backup
from bcd.retention.backup.restore import restore_backup
from bcd.retention.patients import erase_withdrawn
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import PatientScore
from bcd.scoring.score import score_patient
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.store.batches import open_pixels
from bcd.store.ledger import list_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.store.withdrawals import list_withdrawals, record_withdrawal
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

EAST = Hospital("east")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}\S*")


def score(settings: Settings) -> PatientScore:
    bundle = load_bundle(settings, "champion")
    return score_patient(open_store(settings), bundle, EAST, PatientId("1001"), ScoreOptions())


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def backup(home: Settings, store: Store, tmp_path: Path) -> BackupFolder:
    make_backup(store, tmp_path / "backups")
    store.engine.dispose()
    return BackupFolder(tmp_path / "backups")


def test_a_home_restored_elsewhere_scores_the_same_patient_to_the_same_report(
    registry_settings: Settings,
    register: Callable[..., Bundle],
    make_hospital: Callable[..., Snapshot],
    tmp_path: Path,
) -> None:
    home, store = registry_settings, open_store(registry_settings)
    store_patients(store, ["1001", "1002"])
    register(home, "red", snapshot=make_hospital(home).id)
    open_mlflow_client(home).set_registered_model_alias(MODEL, "champion", "1")
    before = score(home)
    make_backup(store, tmp_path / "backups")
    store.engine.dispose()
    shutil.move(home.home, tmp_path / "gone")

    there = Settings(home=tmp_path / "another place" / "bcd")
    restore_backup(tmp_path / "backups", there.home)

    assert score(there).skipped  # the ledger and the scores came along
    stored = digests(tmp_path / "gone" / before.folder.relative_to(home.home))
    shutil.rmtree(there.scores)
    again = score(there)
    assert not again.skipped
    assert again.folder.relative_to(there.home) == before.folder.relative_to(home.home)
    anew = digests(again.folder)
    assert {name for name in stored if stored[name] != anew.get(name)} <= {"report.html"}
    assert stored.keys() == anew.keys()
    reports = [
        DATE.sub("DATE", path.read_text())
        for path in (again.report, tmp_path / "gone" / before.report.relative_to(home.home))
    ]
    assert reports[0] == reports[1]
    assert [entry.bundle for entry in list_ledger(open_store(there))] == [f"{MODEL}/1"]
    assert not home.home.exists()


def test_a_restored_home_holds_every_byte_and_its_next_backup_copies_nothing(
    home: Settings, backup: BackupFolder, tmp_path: Path
) -> None:
    new = Settings(home=tmp_path / "new")
    new.home.mkdir()  # empty

    restored = restore_backup(backup.root, new.home)

    assert digests(new.home) == {file.path: file.sha256 for file in restored.manifest.files}
    assert restored.manifest.home == str(home.home)
    assert make_backup(open_store(new), backup.root).new_files == 0


def test_a_home_that_holds_anything_is_left_as_it_is(home: Settings, backup: BackupFolder, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "bcd.toml").write_text("")
    for folder in (home.home, tmp_path / "new", backup.root / "home"):
        before = digests(folder)
        with pytest.raises(BcdError):
            restore_backup(backup.root, folder)
        assert digests(folder) == before
    assert not list(tmp_path.glob(".partial-*"))


@pytest.mark.parametrize("fault", ["flipped", "cut", "missing"])
def test_a_damaged_object_is_named_and_nothing_is_restored(backup: BackupFolder, tmp_path: Path, fault: str) -> None:
    [pixels] = [file for file in backup.read().files if file.path.endswith("pixels.npy")]
    place = backup.place(pixels.sha256)
    whole = place.read_bytes()
    if fault == "missing":
        place.unlink()
    else:
        place.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) * (fault == "flipped"))

    with pytest.raises(BcdError) as refused:
        restore_backup(backup.root, tmp_path / "new")

    assert pixels.path in refused.value.what
    assert str(place) in refused.value.what
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".partial-*"))


def test_an_object_that_was_damaged_and_deleted_is_copied_again(
    home: Settings, backup: BackupFolder, tmp_path: Path
) -> None:
    backup.place(backup.read().files[0].sha256).unlink()
    make_backup(open_store(home), backup.root)
    restore_backup(backup.root, tmp_path / "new", name=backup.names()[0])
    assert (tmp_path / "new").exists()


def test_killed_at_any_step_the_home_is_whole_or_absent(backup: BackupFolder, tmp_path: Path, die_at) -> None:
    expected = {file.path: file.sha256 for file in backup.read().files}
    kills = 0
    for step in range(1, 100):
        new = tmp_path / "there" / str(step) / "home"
        if not die_at(lambda new=new: restore_backup(backup.root, new), new.parent, step):
            break
        kills += 1
        if new.exists():
            assert digests(new) == expected
        else:
            restore_backup(backup.root, new)
            assert digests(new) == expected
        assert [path.name for path in new.parent.iterdir()] == ["home"]
    assert kills > 8


def test_an_earlier_backup_is_restored_by_name(home: Settings, backup: BackupFolder, tmp_path: Path) -> None:
    (home.home / "bcd.toml").write_text("[training]\nepochs = 5\n")
    make_backup(open_store(home), backup.root)
    first, last = backup.names()

    restore_backup(backup.root, tmp_path / "first", name=first)
    restore_backup(backup.root, tmp_path / "last")

    assert "3" in (tmp_path / "first" / "bcd.toml").read_text()
    assert "5" in (tmp_path / "last" / "bcd.toml").read_text()
    with pytest.raises(BcdError, match=last):
        restore_backup(backup.root, tmp_path / "none", name="yesterday")


def test_who_was_withdrawn_after_the_backup_is_withdrawn_in_the_restored_home(
    home: Settings, store: Store, backup: BackupFolder, empty_database: Path, tmp_path: Path
) -> None:
    for patient in ("1001", "1002"):
        record_withdrawal(store, patient, hospital="east", sign_off=SignOff("Dr Lee", "a letter"))
    make_backup(store, backup.root)
    new = Settings(home=tmp_path / "new")

    restored = restore_backup(backup.root, new.home, name=backup.names()[0])

    there = open_store(new)
    assert restored.withdrawals == 2
    assert list_withdrawals(there) == list_withdrawals(store)
    assert [path.name for path in new.home.glob(".later*")] == []
    [batch] = [BatchId(path.name) for path in new.batches.iterdir()]
    assert open_pixels(new, batch).any()
    new.mlflow.mkdir()
    shutil.copy(empty_database, new.mlflow / "mlflow.db")
    erase_withdrawn(there)
    assert not open_pixels(new, batch).any()
    assert restore_backup(backup.root, tmp_path / "last").withdrawals == 0


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"files": [{"path": "../x", "sha256": "0" * 64, "size": 0, "mtime_ns": 0}]}, {"files": "none"}],
    ids=["newer", "outside", "damaged"],
)
def test_a_manifest_that_is_newer_or_damaged_is_refused(backup: BackupFolder, tmp_path: Path, change: dict) -> None:
    path = backup.root / "backups" / f"{backup.names()[0]}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BcdError, match=re.escape(str(path))):
        restore_backup(backup.root, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_complete_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    with pytest.raises(NotFoundError, match=re.escape(str(tmp_path))):
        restore_backup(tmp_path, tmp_path / "new")


def test_a_disk_that_is_too_small_is_told_before_anything_is_copied(
    backup: BackupFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UnavailableError, match="room"):
        restore_backup(backup.root, tmp_path / "new")
    assert not (tmp_path / "new").exists()
