"""What becomes of a delivery of the inbox once it is admitted."""

from __future__ import annotations

import errno
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from bcd.admission import admit as engine
from bcd.admission.admit import admit
from bcd.admission.delivery import find_deliveries
from bcd.errors import UnavailableError
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.store import Store

EAST = Hospital("east")


@pytest.fixture(params=["as_zip", "as_folder"])
def waiting(request: pytest.FixtureRequest, settings: Settings, patch_files, picture) -> Path:
    files = {**patch_files("8867"), "8867/0/8867_idx5_x951_y1_class0.png": picture(9, width=42)}
    return request.getfixturevalue(request.param)(files, settings.inbox / EAST / "monday")


def _set(store: Store, **changes: object) -> Store:
    settings = store.settings.model_copy(update={"inbox_quiet_seconds": 0.0, **changes})
    return replace(store, settings=settings)


def test_it_is_moved_to_received(store: Store, waiting: Path) -> None:
    admit(store, waiting, EAST)
    assert not waiting.exists()
    assert (store.settings.received / EAST / "monday").exists()


def test_it_is_deleted_where_the_setting_says_so(store: Store, waiting: Path) -> None:
    admit(_set(store, after_admission="delete"), waiting, EAST)
    assert not waiting.exists()
    assert not store.settings.received.exists()


def test_it_is_moved_rather_than_deleted_where_a_refused_file_was_not_kept(
    store: Store, patch_files, as_folder
) -> None:
    folder = as_folder(patch_files("8867"), store.settings.inbox / EAST / "monday")
    (folder / "8867_idx5_x951_y1_class0.png").symlink_to(folder)
    admit(_set(store, after_admission="delete"), folder, EAST)
    assert (store.settings.received / EAST / "monday").exists()


def test_kept_where_it_is_it_is_not_taken_again_until_it_changes(store: Store, waiting: Path) -> None:
    store = _set(store, after_admission="keep")
    settings = store.settings
    assert find_deliveries(settings) == [(EAST, waiting)]
    admit(store, waiting, EAST)
    assert waiting.exists()
    assert find_deliveries(settings) == []
    (waiting / "more.txt").write_text("x") if waiting.is_dir() else waiting.write_bytes(waiting.read_bytes())
    assert find_deliveries(settings) == [(EAST, waiting)]


def test_a_delivery_named_from_elsewhere_stays_where_it_is_whatever_the_setting(
    store: Store, patch_files, as_zip
) -> None:
    path = as_zip(patch_files("8867"))
    admit(_set(store, after_admission="delete"), path, EAST)
    assert path.exists()


def test_an_inbox_on_another_disk_is_copied_from_and_then_emptied(
    store: Store, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self == waiting and store.settings.received in Path(target).parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    before = waiting.read_bytes() if waiting.is_file() else sorted(path.name for path in waiting.rglob("*"))
    admit(store, waiting, EAST)
    moved = store.settings.received / EAST / "monday"
    assert not waiting.exists()
    assert (moved.read_bytes() if moved.is_file() else sorted(path.name for path in moved.rglob("*"))) == before
    assert [path.name for path in moved.parent.iterdir()] == ["monday"]


def test_the_report_is_there_before_the_delivery_leaves(
    store: Store, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "write_admission_report", fail)
        with pytest.raises(UnavailableError, match="monday"):
            admit(store, waiting, EAST)
    assert waiting.exists()
    again = admit(store, waiting, EAST)
    assert again.already
    assert (store.settings.reports / f"{again.id[:12]}.html").exists()


def test_copies_of_admitted_files_are_listed_and_not_copied_so_that_their_delivery_may_be_deleted(
    store: Store, patch_files, as_folder
) -> None:
    files = patch_files("8867")
    folder = as_folder(
        {**files, **{f"copy/{name}": data for name, data in files.items()}}, store.settings.inbox / EAST / "d"
    )
    admission = admit(_set(store, after_admission="delete"), folder, EAST)
    assert (admission.admitted, admission.refused) == (4, {"duplicate-cell": 4})
    assert [path.name for path in (store.settings.quarantine / admission.id).iterdir()] == ["refusals.csv"]
    assert not folder.exists()
    assert not store.settings.received.exists()


def test_a_file_that_is_no_byte_for_byte_copy_is_kept(store: Store, patch_files, as_folder) -> None:
    """The same pixels, and another text beside them."""
    [(name, data), *_] = patch_files("8867").items()
    text = b"tEXtComment\0by hand"
    other = data[:33] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + data[33:]
    admission = admit(store, as_folder({name: data, f"more/{name}": other}), EAST)
    assert admission.refused == {"duplicate-cell": 1}
    [kept] = (store.settings.quarantine / admission.id).glob("*.png")
    assert kept.read_bytes() == other


def test_a_slide_whose_name_does_not_fit_is_listed_and_not_copied(store: Store, patch_files, as_folder) -> None:
    """Its label image may name the patient."""
    admission = admit(store, as_folder({**patch_files("8867"), "Mrs Miller.svs": b"II*"}), EAST)
    assert sum(admission.refused.values()) == 1
    assert not list((store.settings.quarantine / admission.id).glob("*.svs"))


def test_a_report_that_cannot_be_made_does_not_keep_the_delivery_in_the_inbox(
    store: Store, waiting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be taken, and fail, at every run."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("template")

    monkeypatch.setattr(engine, "write_admission_report", fail)
    with pytest.raises(KeyError, match="template"):
        admit(store, waiting, EAST)
    assert (store.settings.received / EAST / "monday").exists()
