"""The large deliveries that benchmarks make hold distinct patches, and any reader of zips reads them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import made_patches
import numpy as np
import pytest

from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

PATCHES = 2_000


@pytest.fixture(scope="module", params=["32 bits", "64 bits"])
def delivery(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two patients; where its members lie far behind, their places have 64 bits."""
    path = tmp_path_factory.mktemp("made") / "delivery.zip"
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "64 bits":
            patched.setattr(made_patches, "_FAR", 100_000)
        made_patches.write_large_zip(path, made_patches.noise_base(), PATCHES)
    return path


def test_each_patch_is_one_of_the_base_but_for_the_last_bits_of_its_last_row(delivery: Path) -> None:
    base = made_patches.noise_base().pixels
    with zipfile.ZipFile(delivery) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(set(names)) == PATCHES
        first = cv2.imdecode(np.frombuffer(archive.read(names[0]), np.uint8), cv2.IMREAD_COLOR)
    differences = first.astype(int) - base[0]
    assert abs(differences[:-1]).max() == 0
    assert abs(differences[-1]).max() == 1


def test_all_its_patches_are_admitted(delivery: Path, tmp_path: Path) -> None:
    store = open_store(load_settings(tmp_path / "home"))
    declare_hospital(store, "east", "pseudonyms", SignOff("test", "test"))

    admission = admit(store, delivery, Hospital("east"))

    assert (admission.admitted, admission.patients, admission.refused) == (PATCHES, 2, {})
