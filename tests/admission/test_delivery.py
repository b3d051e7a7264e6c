from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from bcd.admission.delivery import check_delivery, find_deliveries, patient_ids
from bcd.errors import BcdError
from bcd.settings import Settings, load_settings


def test_a_delivery_with_a_patch_may_be_opened(patch_files, as_zip, as_folder) -> None:
    check_delivery(as_zip(patch_files("8867")))
    check_delivery(as_folder(patch_files("8867")))


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(BcdError, match=r"no delivery .*nowhere"):
        check_delivery(tmp_path / "nowhere")


def test_a_file_that_is_no_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "delivery.zip").write_bytes(b"PK not really")
    with pytest.raises(BcdError, match="neither a folder nor a whole zip"):
        check_delivery(tmp_path / "delivery.zip")


def test_a_zip_that_was_cut_is_named(patch_files, as_zip) -> None:
    path = as_zip(patch_files("8867"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BcdError, match="Copy it again"):
        check_delivery(path)


@pytest.mark.parametrize("files", [{}, {"__MACOSX/._x.png": b"x", ".DS_Store": b"x"}])
def test_an_empty_delivery_is_named(files: dict[str, bytes], as_zip, tmp_path: Path) -> None:
    with pytest.raises(BcdError, match="holds no files"):
        check_delivery(as_zip(files))
    (tmp_path / "empty" / "folders" / "only").mkdir(parents=True)
    with pytest.raises(BcdError, match="holds no files"):
        check_delivery(tmp_path / "empty")


def test_holiday_photos_are_no_delivery(as_zip, picture) -> None:
    with pytest.raises(BcdError, match=r"2 files and none is named as a patch.*\.jpg, \.png"):
        check_delivery(as_zip({"beach.png": picture(1), "sunset.jpg": b"x"}))


def test_patients_are_read_from_names_alone(as_zip) -> None:
    path = as_zip({"a/0/a_idx5_x1_y1_class0.png": b"", "b/b_idx5_x1_y1.png": b"", "notes.txt": b""})
    assert patient_ids(path) == {"a", "b"}


@pytest.fixture
def hasty(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home").model_copy(update={"inbox_quiet_seconds": 0.0})


def test_deliveries_wait_by_hospital_in_the_order_of_their_names(
    hasty: Settings, as_zip, as_folder, patch_files
) -> None:
    as_zip(patch_files("1"), hasty.inbox / "west" / "b.zip")
    as_folder(patch_files("1"), hasty.inbox / "west" / "a")
    as_zip(patch_files("1"), hasty.inbox / "east" / "c.zip")
    as_zip(patch_files("1"), hasty.inbox / "east" / ".c.zip.part")
    as_zip(patch_files("1"), hasty.inbox / "not a hospital" / "d.zip")
    found = [(hospital, path.name) for hospital, path in find_deliveries(hasty)]
    assert found == [("east", "c.zip"), ("west", "a"), ("west", "b.zip")]


def test_an_inbox_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert find_deliveries(load_settings(tmp_path / "nowhere")) == []


def test_a_delivery_that_is_still_being_written_is_left_alone(settings: Settings, as_folder, patch_files) -> None:
    folder = as_folder(patch_files("1"), settings.inbox / "east" / "delivery")
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))  # as a copying tool does that keeps the times of the original
    assert find_deliveries(settings) == []


def test_a_zip_of_folders_only_is_empty(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "folders.zip", "w") as archive:
        archive.mkdir("8867")
    with pytest.raises(BcdError, match="holds no files"):
        check_delivery(tmp_path / "folders.zip")
