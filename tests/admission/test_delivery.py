from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from delivering import refused

from bcd.admission.delivery import check_delivery, list_delivered_patients
from bcd.errors import BcdError, NotFoundError


def test_a_delivery_with_a_patch_may_be_opened(patch_files, as_zip, as_folder, as_tar) -> None:
    check_delivery(as_zip(patch_files("8867")))
    check_delivery(as_folder(patch_files("8867")))
    check_delivery(as_tar(patch_files("8867")))


@pytest.mark.parametrize("name", ["8867.svs", "8867_idx5.tiff", "march/8867/IMG_0004.dcm", "8867_idx5.png"])
def test_a_delivery_with_a_slide_may_be_opened(as_zip, as_folder, name: str) -> None:
    check_delivery(as_zip({name: b"", "notes.txt": b""}))
    check_delivery(as_folder({name: b""}) / name.partition("/")[0])  # a single file is a delivery, too


def test_a_look_at_a_tar_ends_at_the_first_patch(as_tar, patch_files) -> None:
    path = as_tar(patch_files("8867") | {"slide.svs": os.urandom(1 << 20)})
    path.write_bytes(path.read_bytes()[:100_000])  # what is missing shows when it is opened
    check_delivery(path)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        check_delivery(tmp_path / "nowhere")


def test_a_file_that_is_no_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "delivery.zip").write_bytes(b"PK not really")
    with refused("no-delivery"):
        check_delivery(tmp_path / "delivery.zip")


def test_a_zip_that_was_cut_is_named(patch_files, as_zip) -> None:
    path = as_zip(patch_files("8867"))
    path.write_bytes(path.read_bytes()[:-100])
    with refused("unreadable"):
        check_delivery(path)


@pytest.mark.parametrize("files", [{}, {"__MACOSX/._x.png": b"x", ".DS_Store": b"x"}])
def test_an_empty_delivery_is_named(files: dict[str, bytes], as_zip, tmp_path: Path) -> None:
    with pytest.raises(BcdError, match=r"PATIENT_idx5_x51_y101_class0\.png"):
        check_delivery(as_zip(files))
    (tmp_path / "empty" / "folders" / "only").mkdir(parents=True)
    with pytest.raises(BcdError, match=r"PATIENT_idx5_x51_y101_class0\.png"):
        check_delivery(tmp_path / "empty")


def test_holiday_photos_are_no_delivery(as_zip, picture) -> None:
    with pytest.raises(BcdError, match=r"\b2 files.*\.jpg, \.png"):
        check_delivery(as_zip({"beach.png": picture(1), "sunset.jpg": b"x"}))


def test_patients_are_read_from_names_alone(as_zip, as_folder, as_tar) -> None:
    files = {"a/0/a_idx5_x1_y1_class0.png": b"", "b/b_idx5_x1_y1.png": b"", "notes.txt": b""}
    for write in (as_zip, as_folder, as_tar):
        assert list_delivered_patients(write(files)) == {"a", "b"}


@pytest.fixture
def as_tar(tmp_path: Path) -> Callable[..., Path]:
    def write(files: dict[str, bytes]) -> Path:
        with tarfile.open(tmp_path / "delivery.tar.gz", "w:gz") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return tmp_path / "delivery.tar.gz"

    return write


def test_a_zip_of_folders_only_is_empty(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "folders.zip", "w") as archive:
        archive.mkdir("8867")
    with pytest.raises(BcdError, match=r"PATIENT_idx5_x51_y101_class0\.png"):
        check_delivery(tmp_path / "folders.zip")
