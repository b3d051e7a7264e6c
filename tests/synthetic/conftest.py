from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bcd.patches import PatchName
from bcd.synthetic.hospital import draw_hospital
from bcd.synthetic.options import HospitalOptions

SMALL = HospitalOptions(seed=3, patients=14, large_patients=1, small_patches=25, large_patches=120)


@pytest.fixture(scope="session")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_hospital(SMALL, tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="session")
def members(deliveries: list[Path]) -> dict[str, NDArray[np.uint8]]:
    """Every patch of both deliveries, RGB, by its name in the zip."""
    pictures = {}
    for path in deliveries:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                picture = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
                pictures[name] = picture[..., ::-1]
    return pictures


@pytest.fixture(scope="session")
def names(members: dict[str, NDArray[np.uint8]]) -> list[PatchName]:
    parsed = [PatchName.parse(member.rsplit("/", 1)[-1]) for member in members]
    return [name for name in parsed if name is not None]
