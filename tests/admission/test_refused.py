"""A delivery that is refused as a whole has a record, a report and refusals like any other."""

from __future__ import annotations

import csv
import errno
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from bcd.admission import admit as engine
from bcd.admission.admit import admit
from bcd.admission.delivery import find_deliveries
from bcd.admission.refused import RefusedError
from bcd.admission.rules import FIXES
from bcd.errors import UnavailableError
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.deliveries import Delivery
from bcd.store.delivery_queries import list_batches, list_stored_deliveries, list_stored_refusals
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EAST = Hospital("east")
SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c" + bytes(99)
EMPTY_ZIP = b"PK\5\6" + bytes(18)


def _refuse(store: Store, path: Path, hospital: Hospital = EAST) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        admit(store, path, hospital)
    return caught.value


def _last(store: Store) -> Delivery:
    return list_stored_deliveries(store)[-1]


@pytest.fixture
def large(picture, as_zip) -> Path:
    """Three pictures of the wrong size, and a note."""
    files = {f"a_idx5_x{1 + 50 * place}_y1_class0.png": picture(place, 100, 100) for place in range(3)}
    return as_zip({**files, "note.txt": b"Dear all"})


def test_the_sentence_is_the_commonest_refusals_own_with_its_own_fix(store: Store, large: Path) -> None:
    error = _refuse(store, large)
    assert "a_idx5_x1_y1_class0.png" in error.what
    assert "100x100 px" in error.what
    assert "name 1, size 3" in error.what
    assert error.fix.startswith(FIXES["size"])


def test_it_is_recorded_and_reported_with_all_refusals(store: Store, large: Path) -> None:
    error = _refuse(store, large)
    delivery = _last(store)
    assert (delivery.files, delivery.admitted, delivery.batch) == (4, 0, None)
    assert delivery.refused == {"name": 1, "size": 3}
    assert delivery.reason == error.what
    refused = list_stored_refusals(store, delivery.id)
    assert sorted(one.rule for one in refused) == ["name", "size", "size", "size"]
    folder = store.settings.quarantine / delivery.id
    assert all((folder / str(one.kept)).read_bytes() for one in refused)
    report = (store.settings.reports / f"{delivery.id[:12]}.html").read_text()
    assert "100x100 px" in report
    assert str(delivery.reason) in unescape(report)
    assert list_batches(store) == []


@pytest.mark.parametrize(
    ("name", "data", "rule"),
    [
        ("x.zip", SEVEN_ZIP, "container"),
        ("x.zip.001", b"PK\3\4" + bytes(99), "split"),
        ("x.tar.gz.ab", b"whatever", "split"),
        ("x.zip", b"PK\3\4" + bytes(99), "unreadable"),
        ("x.zip", b"", "empty"),
        ("x.txt", b"Dear all", "no-delivery"),
        ("x.zip", b"<!DOCTYPE html><html>Log in</html>", "no-delivery"),
        ("reading.csv", b"patient,slide,x,y,label\n", "labels-alone"),
        ("reading.xlsx", EMPTY_ZIP, "labels-alone"),
    ],
)
def test_what_cannot_be_opened_is_one_refused_file(store: Store, name: str, data: bytes, rule: str) -> None:
    path = store.settings.home.parent / name
    path.write_bytes(data)
    error = _refuse(store, path)
    delivery = _last(store)
    assert (delivery.name, delivery.files, delivery.refused) == (name, 1, {rule: 1})
    assert error.fix.startswith(FIXES[rule])
    [refused] = list_stored_refusals(store, delivery.id)
    assert (refused.name, refused.rule, refused.kept) == (name, rule, None)
    with (store.settings.quarantine / delivery.id / "refusals.csv").open(encoding="utf-8") as file:
        assert [row["rule"] for row in csv.DictReader(file)] == [rule]
    assert (store.settings.reports / f"{delivery.id[:12]}.html").exists()


@pytest.mark.parametrize("files", [{}, {".DS_Store": b"x", "Icon\r": b""}])
def test_a_delivery_without_files_is_refused_too(store: Store, files, as_zip) -> None:
    assert "delivery.zip" in _refuse(store, as_zip(files)).what
    assert _last(store).refused == {"empty": 1}


def test_handed_over_again_it_is_refused_again_and_nothing_changes(store: Store, large: Path) -> None:
    first = str(_refuse(store, large))
    unopened = store.settings.home.parent / "x.zip"
    unopened.write_bytes(SEVEN_ZIP)
    second = str(_refuse(store, unopened))
    before = list_stored_deliveries(store)
    assert str(_refuse(store, large)) == first
    assert str(_refuse(store, unopened)) == second
    assert list_stored_deliveries(store) == before


def test_deliveries_of_which_no_byte_can_be_read_have_each_its_own_reason(store: Store, picture, as_zip) -> None:
    """Regression: with the same names they were one delivery, and the second was told the reason of the first."""
    path = as_zip({"a_idx5_x1_y1_class0.png": picture(1)})
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\1\2")
    for rule, place, value in (("compression", 10, 14), ("encrypted", 8, 1)):
        broken = bytearray(data)
        broken[central + place] = value
        fixed = store.settings.home.parent / f"{rule}.zip"
        fixed.write_bytes(broken)
        error = _refuse(store, fixed)
        assert f"{rule}.zip" in error.what
        assert _last(store).refused == {rule: 1}


def test_slides_that_were_refused_without_a_spacing_are_admitted_with_it(
    *, store: Store, patch_files, as_folder, encode
) -> None:
    """Regression: the same files were the same delivery, admitted before, and so the advice could not be followed."""
    noise = np.random.default_rng(1).integers(0, 40, (200, 200, 1))
    slide = {"P1_idx3.png": encode((np.array([200, 120, 190]) + noise).astype(np.uint8))}  # red and blue: stained
    alone = as_folder(slide, store.settings.home.parent / "alone")
    mixed = as_folder({**patch_files("8867"), **slide}, store.settings.home.parent / "mixed")
    assert "no-spacing 1" in _refuse(store, alone).what
    assert admit(store, mixed, EAST).refused == {"no-spacing": 1}
    admission = admit(store, mixed, EAST, spacing=4.0)
    assert (admission.already, admission.refused) == (False, {"already-admitted": 4})
    assert admission.admitted > 0
    again = admit(store, mixed, EAST, spacing=4.0)
    assert again.already


def test_from_the_inbox_it_is_set_aside_with_its_reason(store: Store, waiting: Path) -> None:
    waiting.write_bytes(SEVEN_ZIP)
    error = _refuse(store, waiting)
    assert (store.settings.set_aside / EAST / "monday.zip").read_bytes() == SEVEN_ZIP
    assert (store.settings.set_aside / EAST / "monday.zip.txt").read_text("utf-8") == f"{error}\n"
    assert not waiting.exists()


def test_of_a_raw_hospital_neither_record_nor_report_names_anybody(
    store: Store, picture, as_zip, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_hospital(store, "raw", "raw", SignOff("test", "test"))
    folder = store.settings.home.parent
    small = as_zip({"Miller_idx5_x1_y1_class0.png": picture(1, 9, 9)}, folder / "Miller.zip")
    (folder / "Miller.7z").write_bytes(SEVEN_ZIP)
    errors = [_refuse(store, path, Hospital("raw")) for path in (small, folder / "Miller.7z")]

    def fail(*_: object, **__: object) -> None:
        raise ValueError(small.stem)

    monkeypatch.setattr(engine, "examine_files", fail)
    errors.append(_refuse(store, small, Hospital("raw")))
    with store.read() as connection:
        rows = [str(connection.execute(sa.select(table)).all()) for table in (tables.deliveries, tables.refusals)]
    kept = [
        path
        for root in (store.settings.quarantine, store.settings.reports)
        for path in root.rglob("*")
        if path.is_file()
    ]
    shown = [*rows, *map(str, errors), *(one.trace for one in errors), *(path.read_text("latin-1") for path in kept)]
    assert len(list_stored_deliveries(store)) == 3
    assert not any("Miller" in text for text in shown)


def test_any_exception_is_recorded_with_its_place_and_traceback_and_the_delivery_is_set_aside(
    store: Store, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BufferError("not C-contiguous")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "examine_files", fail)
        error = _refuse(store, waiting)
    assert "BufferError: not C-contiguous; test_refused.py, line" in error.what
    assert "BufferError: not C-contiguous" in error.trace
    assert _last(store).refused == {"failed": 1}
    aside = store.settings.set_aside / EAST / "monday.zip"
    assert aside.exists()
    assert admit(store, aside, EAST).admitted == 4  # as the fix says


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EMFILE, "Too many open files"),
        PermissionError(errno.EACCES, "Permission denied"),
        MemoryError(),
        RuntimeError("can't start new thread"),
        ModuleNotFoundError("No module named 'openslide'", name="openslide"),
        sa.exc.DatabaseError("", {}, Exception("database disk image is malformed")),
    ],
    ids=repr,
)
def test_a_fault_of_the_machine_leaves_the_delivery_where_it_is(
    settings: Settings, store: Store, waiting: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(engine, "examine_files", fail)
        for _ in range(2):
            with pytest.raises(UnavailableError) as caught:
                admit(store, waiting, EAST)
    assert caught.value.fix
    assert list_stored_deliveries(store) == []
    settings = settings.model_copy(update={"inbox_quiet_seconds": 0.0})
    assert find_deliveries(settings) == [(EAST, waiting)]
    assert admit(store, waiting, EAST).admitted == 4


def test_a_key_of_pseudonyms_that_is_missing_leaves_the_delivery_where_it_is(
    store: Store, patch_files, as_zip
) -> None:
    declare_hospital(store, "raw", "raw", SignOff("test", "test"))
    admit(store, as_zip(patch_files("1")), Hospital("raw"))
    (store.settings.keys / "pseudonyms.key").rename(store.settings.keys / "elsewhere")
    path = as_zip(patch_files("2", seed=7), store.settings.inbox / "raw" / "monday.zip")
    with pytest.raises(UnavailableError, match=r"pseudonyms\.key"):
        admit(store, path, Hospital("raw"))
    assert path.exists()


def test_without_openslide_slides_wait_and_patches_are_admitted(
    *, store: Store, waiting: Path, as_folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = as_folder({"8867_idx5.svs": b"II*\0"}, store.settings.inbox / EAST / "slides")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "openslide", None)
        with pytest.raises(UnavailableError, match="openslide-bin"):
            admit(store, slides, EAST)
        assert admit(store, waiting, EAST).admitted == 4
    assert slides.exists()
    assert "8867_idx5.svs: " in _refuse(store, slides).what  # it is damaged, which OpenSlide tells
