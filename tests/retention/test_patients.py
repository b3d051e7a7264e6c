"""What `bcd patient erase` removes of withdrawn patients, what it keeps for a model, and what it says remains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from patients import list_patches, store_patches

from bcd.errors import BcdError
from bcd.patches import BatchId
from bcd.retention import patients as module
from bcd.retention.patients import erase_withdrawn, path_names_erased
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store import tables
from bcd.store.batches import open_pixels, read_batch_pixels
from bcd.store.deliveries import RefusedFile
from bcd.store.delivery_queries import list_stored_refusals
from bcd.store.erasures import assert_batch_not_erased
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.store.withdrawals import record_withdrawal
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

PATIENTS = ["1001", "1002", "8867"]
PATCHES = 3  # of each patient in each batch


@pytest.fixture
def store(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Store]:
    """On SQLite, where a test does not ask for the other."""
    url = ""
    if getattr(request, "param", "") == "postgresql":
        postgres = request.getfixturevalue("postgres")
        url = postgres.url(postgres.make_database())
    opened = open_store(settings.model_copy(update={"catalog_url": url}))
    declare_hospital(opened, "east", "pseudonyms", SignOff("Mary", "test"))
    yield opened
    opened.engine.dispose()


@pytest.fixture
def batches(store: Store) -> list[BatchId]:
    """Two deliveries of the same three patients, the second with refused files and without labels."""
    first = _deliver(store, "one.zip", slide="1", labels=[0, 1, 1], refused=[])
    names = ["8867/0/8867_idx2_x1_y1_class0.png", "8867/scan.png", "1001/0/1001_idx2_x1_y1_class0.png"]
    second = _deliver(store, "two.zip", slide="2", labels=[None] * 3, refused=names)
    (store.settings.received / "east").mkdir(parents=True)
    (store.settings.received / "east" / "one.zip").touch()
    for patient in PATIENTS:
        folder = store.settings.scores / "east" / patient / "bcd-idc-1-0"
        folder.mkdir(parents=True)
        (folder / "report.html").touch()
        folder = store.settings.shadow / "east" / patient / "bcd-idc-2-beside-bcd-idc-1-0"
        folder.mkdir(parents=True)
        (folder / "scores.parquet").touch()
    (store.settings.prepared / "0").mkdir(parents=True)
    return [first, second]


def _deliver(store: Store, name: str, *, slide: str, labels: list[int | None], refused: list[str]) -> BatchId:
    folder = store.settings.quarantine / name
    folder.mkdir(parents=True)
    for number in range(len(refused)):
        (folder / f"{number}").write_bytes(b"PNG")
    refusals = [RefusedFile(file, "size", "m", "0", f"{number}") for number, file in enumerate(refused)]
    patches = list_patches(PATIENTS, labels, slide=slide)
    pixels = np.full((len(patches), 50, 50, 3), 7, np.uint8)
    return store_patches(store, patches, pixels, name=name, refusals=refusals)


def _withdraw(store: Store, patient: str = "8867") -> None:
    record_withdrawal(store, patient, hospital="east", sign_off=SignOff("Mary", "a letter"))


def _rows(settings: Settings, batch: BatchId, patient: str) -> list[int]:
    index = pd.read_parquet(settings.batches / batch / "index.parquet")
    return np.flatnonzero(index["patient"] == patient).tolist()


def _files(settings: Settings) -> dict[str, bytes]:
    """Returns every file of the store, the scores and the prepared copies with its bytes."""
    stored = (settings.batches, settings.quarantine, settings.scores, settings.shadow)
    roots = (*stored, settings.prepared, settings.received)
    found = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(settings.home)): path.read_bytes() for path in found}


def _recorded(store: Store) -> list[tuple[str, int, int]]:
    column = tables.erasures.c
    with store.read() as connection:
        rows = connection.execute(sa.select(column.patient, column.batch, column.patches).order_by(column.number))
        return [tuple(row) for row in rows]


def test_nothing_goes_while_nobody_is_withdrawn(store: Store, batches) -> None:
    before = _files(store.settings)
    assert erase_withdrawn(store) == []
    assert _files(store.settings) == before


@pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)
def test_what_is_stored_of_a_withdrawn_patient_goes_and_nothing_else(store: Store, batches) -> None:
    before = _files(store.settings)
    _withdraw(store)
    (done,) = erase_withdrawn(store)
    after = _files(store.settings)
    for batch in batches:
        pixels, erased = open_pixels(store.settings, batch), _rows(store.settings, batch, "8867")
        assert not pixels[erased].any()
        assert (np.delete(pixels, erased, axis=0) == 7).all()
        assert after[f"store/batches/{batch}/index.parquet"] == before[f"store/batches/{batch}/index.parquet"]
    gone = set(before) - set(after)
    assert gone == {
        "scores/east/8867/bcd-idc-1-0/report.html",
        "shadow/east/8867/bcd-idc-2-beside-bcd-idc-1-0/scores.parquet",
        "store/quarantine/two.zip/0",
        "store/quarantine/two.zip/1",
    }
    assert not store.settings.prepared.exists()
    assert {refusal.kept for refusal in list_stored_refusals(store, "two.zip")} == {"2", None}
    assert _recorded(store) == [("8867", 1, PATCHES), ("8867", 2, PATCHES)]
    assert (done.erased, done.kept, done.models) == (dict.fromkeys(batches, PATCHES), {}, [])


def test_an_erased_row_is_never_read_as_a_black_patch(store: Store, batches) -> None:
    _withdraw(store)
    erase_withdrawn(store)
    for patient in PATIENTS[:2]:
        assert_batch_not_erased(store.settings, batches[0], np.array(_rows(store.settings, batches[0], patient)))
    rows = np.array(_rows(store.settings, batches[0], "8867"))[:1]
    with pytest.raises(BcdError, match=rf"east/8867.*{batches[0][:12]}.*\d{{4}}-\d\d-\d\d"):
        assert_batch_not_erased(store.settings, batches[0], rows)
    with pytest.raises(BcdError, match="east/8867"):
        read_batch_pixels(store.settings, pd.DataFrame({"batch": batches[0], "row": rows}))


def test_what_remains_is_stated(store: Store, batches) -> None:
    snapshot = freeze_snapshot(store, SplitOptions(key="k"))
    _withdraw(store)
    (done,) = erase_withdrawn(store)
    remains = " ".join(done.remains)
    assert f"snapshots {snapshot.id[:12]}" in remains
    assert str(store.settings.received / "east" / "one.zip") in remains
    assert "8867" in remains
    assert "backups" in remains


def test_a_dry_run_says_the_same_and_does_nothing(store: Store, batches) -> None:
    _withdraw(store)
    before = _files(store.settings)
    (planned,) = erase_withdrawn(store, dry_run=True)
    assert _files(store.settings) == before
    assert _recorded(store) == []
    assert planned.removed[-3:] == ["scores/east/8867", "shadow/east/8867", "2 files of store/quarantine/two.zip"]
    assert erase_withdrawn(store) == [planned]


def test_the_second_run_finds_nothing_to_do(store: Store, batches) -> None:
    _withdraw(store)
    erase_withdrawn(store)
    before, times = _files(store.settings), _times(store.settings)
    (again,) = erase_withdrawn(store)
    assert (again.removed, again.erased) == ([], dict.fromkeys(batches, PATCHES))
    assert (_files(store.settings), _times(store.settings)) == (before, times)


def test_a_patient_who_withdraws_later_is_erased_beside_the_first(store: Store, batches) -> None:
    for patient in ("8867", "1001"):
        _withdraw(store, patient)
        erase_withdrawn(store)
    pixels = open_pixels(store.settings, batches[0])
    assert [bool(pixels[_rows(store.settings, batches[0], patient)].any()) for patient in PATIENTS] == [
        False,
        True,
        False,
    ]
    for patient in ("8867", "1001"):
        with pytest.raises(BcdError, match=f"east/{patient}"):
            assert_batch_not_erased(store.settings, batches[0], np.array(_rows(store.settings, batches[0], patient)))


def test_a_registered_model_keeps_the_pixels_that_it_learned_from(store: Store, batches, register) -> None:
    snapshot = freeze_snapshot(store, SplitOptions(key="k"))  # holds the first batch, which has labels
    bundle = register(store.settings, "red", snapshot=snapshot.id)
    _withdraw(store)
    (done,) = erase_withdrawn(store)
    assert done.models == [f"{bundle.name} (snapshot {snapshot.id[:12]})"]
    assert (done.kept, done.erased) == ({batches[0]: PATCHES}, {batches[1]: PATCHES})
    assert (open_pixels(store.settings, batches[0]) == 7).all()
    assert not open_pixels(store.settings, batches[1])[_rows(store.settings, batches[1], "8867")].any()
    assert not (store.settings.scores / "east" / "8867").exists()

    open_mlflow_client(store.settings).delete_model_version(MODEL, bundle.version)
    (done,) = erase_withdrawn(store)
    assert (done.kept, done.models) == ({}, [])
    assert not open_pixels(store.settings, batches[0])[_rows(store.settings, batches[0], "8867")].any()


@pytest.mark.parametrize(
    "step", ["mark_batch_erased", "_record", "_renew_reports", "_remove_files", "erase_batch_pixels"]
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_that_was_killed_is_completed_by_the_next(
    store: Store, batches, monkeypatch: pytest.MonkeyPatch, *, step: str, after: bool
) -> None:
    _withdraw(store)
    _kill_at(store, monkeypatch, step, after=after)
    assert erase_withdrawn(store)[0].erased == dict.fromkeys(batches, PATCHES)
    assert _recorded(store) == [("8867", 1, PATCHES), ("8867", 2, PATCHES)]
    for batch in batches:
        assert not open_pixels(store.settings, batch)[_rows(store.settings, batch, "8867")].any()
        assert sorted(path.name for path in (store.settings.batches / batch).iterdir()) == [
            "erased.json",
            "index.parquet",
            "pixels.npy",
        ]
    assert not store.settings.prepared.exists()
    assert not (store.settings.scores / "east" / "8867").exists()
    assert sorted(path.name for path in (store.settings.quarantine / "two.zip").iterdir()) == ["2"]
    assert {refusal.kept for refusal in list_stored_refusals(store, "two.zip")} == {"2", None}


def _kill_at(store: Store, monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool) -> None:
    original = getattr(module, step)

    def die(*arguments: object) -> None:
        if after:
            original(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, step, die)
        with pytest.raises(KeyboardInterrupt):
            erase_withdrawn(store)


@pytest.mark.parametrize(
    ("name", "is_named"),
    [
        ("8867_idx5_x1_y1_class0.png", True),
        ("top/8867/1/holiday.jpg", True),
        ("8867.svs", True),
        ("scan of 8867 (2).tif", True),
        ("8867/1/9999_idx5_x1_y1_class1.png", True),
        ("88670_idx5_x1_y1_class0.png", False),
        ("9999_idx8867_x8867_y1_class0.png", False),
        ("9999/1/9999_idx5_x1_y1_class1.png", False),
        ("", False),
    ],
)
def test_a_refused_file_is_a_patient_s_by_its_name_or_folder(name: str, is_named: bool) -> None:
    assert path_names_erased(name, "8867") is is_named


def test_a_label_s_folder_names_no_patient() -> None:
    assert not path_names_erased("9999/1/9999_idx5_x1_y1_class1.png", "1")
    assert path_names_erased("1/0/1_idx5_x1_y1_class0.png", "1")


def _times(settings: Settings) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in settings.batches.rglob("*")}
