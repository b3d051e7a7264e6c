from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import delivering
import numpy as np
import pytest
from stored import new_store

from bcd.settings import Settings, load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("BCD_CATALOG_URL", raising=False)
    return load_settings(tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Store:
    """A new catalog, in which two hospitals are declared."""
    opened = new_store(settings)
    for hospital in ("east", "west"):
        declare_hospital(opened, hospital, "pseudonyms", SignOff("test", "test"))
    return opened


@pytest.fixture(scope="session")
def encode() -> Callable[[np.ndarray], bytes]:
    return delivering.encode


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    return delivering.picture


@pytest.fixture(scope="session")
def patch_files(picture: Callable[..., bytes]) -> Callable[..., dict[str, bytes]]:
    """Makes the files of patients in the public set's layout, two patches of each label a patient."""

    def make(*patients: str, seed: int = 0) -> dict[str, bytes]:
        files = {}
        for number, patient in enumerate(patients):
            for place in range(4):
                label = place % 2
                name = f"{patient}_idx5_x{1 + 50 * place}_y51_class{label}.png"
                files[f"{patient}/{label}/{name}"] = picture(seed + 100 * number + place)
        return files

    return make


@pytest.fixture
def as_zip(tmp_path: Path) -> Callable[..., Path]:
    return lambda files, path=tmp_path / "delivery.zip": delivering.write_zip(path, files)


@pytest.fixture
def waiting(settings: Settings, patch_files: Callable[..., dict[str, bytes]]) -> Path:
    """A good delivery in the inbox."""
    return delivering.write_zip(settings.inbox / "east" / "monday.zip", patch_files("8867"))


@pytest.fixture
def as_folder(tmp_path: Path) -> Callable[..., Path]:
    return lambda files, path=tmp_path / "delivery": delivering.write_folder(path, files)


@pytest.fixture(scope="session")
def area_average() -> Callable[[np.ndarray, tuple[float, float]], np.ndarray]:
    """Averages a picture of some spacing over areas of 4 µm by integrating along each axis.

    That is another way than admission's, which multiplies with sparse matrices, block by block.
    """

    def average(slide: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
        picture = slide.astype(float)
        for axis, step in ((1, 4 / spacing[0]), (0, 4 / spacing[1])):
            sums = np.insert(np.cumsum(picture, axis), 0, 0, axis)
            edges = np.arange(int(slide.shape[axis] / step + 1e-6) + 1) * step
            low = np.minimum(np.floor(edges).astype(int), slide.shape[axis] - 1)
            share = np.expand_dims(edges - low, tuple(i for i in range(3) if i != axis))
            at_edges = np.take(sums, low, axis) * (1 - share) + np.take(sums, low + 1, axis) * share
            picture = np.diff(at_edges, axis=axis) / step
        return picture

    return average
