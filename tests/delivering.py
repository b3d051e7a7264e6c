"""Deliveries of made-up patches: the files of patients, and what they are handed over as."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bcd.admission.rules import DeliveryError


def refused(rule: str) -> pytest.RaisesExc[DeliveryError]:
    """Expects that a delivery is refused as a whole, by a rule."""
    return pytest.raises(DeliveryError, check=lambda error: error.rule == rule)


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


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Writes files as a zip without the time of writing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


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
