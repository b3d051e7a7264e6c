"""The slide that is put together of patches, as another program reads it."""

from __future__ import annotations

import numpy as np
import openslide
import pytest

from bcd.admission.admit import admit
from bcd.errors import BcdError
from bcd.patches import Hospital
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff


def test_a_patch_lies_at_its_place_but_for_the_loss_of_jpeg(scored, write, tmp_path) -> None:
    patient = scored()
    said = write(patient)["slide-5"]
    assert (said.TotalPixelMatrixColumns, said.TotalPixelMatrixRows, said.LossyImageCompression) == (600, 900, "01")
    with openslide.OpenSlide(tmp_path / "dicom/slide-5.dcm") as slide:
        assert slide.dimensions == (600, 900)
        assert float(slide.properties["openslide.mpp-x"]) == 4
        shown = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3].astype(int)
    for row, patch in zip(patient.scores.itertuples(), patient.read(patient.scores), strict=True):
        top, left = row.y - 1, row.x - 1
        found = shown[top : top + 50, left : left + 50].mean(axis=(0, 1))
        np.testing.assert_allclose(found, patch.mean(axis=(0, 1)), atol=2)
    assert shown[300:330, 100:130].min() == 255


def test_admission_knows_it_for_bcd_s_own(store, scored, write, tmp_path) -> None:
    write(scored())
    declare_hospital(store, "west", "pseudonyms", SignOff("Mary", "test"))
    (tmp_path / "d/8867").mkdir(parents=True)
    (tmp_path / "dicom/slide-5.dcm").rename(tmp_path / "d/8867/slide-5.dcm")
    with pytest.raises(BcdError, match="own-picture 1"):
        admit(store, tmp_path / "d", Hospital("west"))
