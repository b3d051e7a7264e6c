"""Deliveries of made-up patches: the files of patients, and what they are handed over as."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bcd.admission.rules import DeliveryError
from bcd.patches import PatchName, PatientId, SlideId
from bcd.store.delivery_queries import list_stored_refusals

if TYPE_CHECKING:
    from bcd.admission.admit import Admission
    from bcd.store.store import Store


def refused(rule: str) -> pytest.RaisesExc[DeliveryError]:
    """Expects that a delivery is refused as a whole, by a rule."""
    return pytest.raises(DeliveryError, check=lambda error: error.rule == rule)


def read_refusals(store: Store, admission: Admission) -> dict[str, tuple[str, str]]:
    """Returns rule and message of each refused file of an admission, by its name."""
    return {each.name: (each.rule, each.message) for each in list_stored_refusals(store, admission.id)}


@cache
def picture(number: int, height: int = 50, width: int = 50) -> bytes:
    """Makes a PNG whose pixels differ with the number."""
    return encode(np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """Encodes an array as OpenCV does, three channels being BGR, as a PNG."""
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def patch_files(patient: str, pictures: Iterable[int]) -> dict[str, bytes]:
    """Makes the files of a patient, who has these pictures side by side with labels in turn."""
    return {
        f"{patient}/{number % 2}/{patient}_idx5_x{1 + 50 * place}_y1_class{number % 2}.png": picture(number)
        for place, number in enumerate(pictures)
    }


def name_pixels(
    patient: str,
    pixels: NDArray[np.uint8],
    *,
    slide: str = "5",
    columns: int = 6,
    labels: Sequence[int | None] = (0, 1),
) -> dict[str, bytes]:
    """Makes the files of a patient's patches, whose RGB pixels lie row by row and whose labels come in turn."""
    files = {}
    for place, patch in enumerate(pixels):
        row, column = divmod(place, columns)
        label = labels[place % len(labels)]
        name = PatchName(PatientId(patient), SlideId(slide), 50 * column + 1, 50 * row + 1, label)
        files[name.format()] = encode(patch[..., ::-1])
    return files


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """Writes files as a zip without the time of writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


def write_packed_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Writes files as a zip, compressed as most programs do it."""
    return write_zip(path, files, method)


def write_tar_gz(path: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files as a compressed tar, which is unpacked before it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files as a folder."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path
