"""The maps, read back by highdicom: what each patch is, and where it lies."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pytest

from bcd.evaluation.calls import is_confident, is_idc
from bcd.scoring.geojson import PREDICTED


def grid(scored, values) -> np.ndarray:
    """Values of the patches at their cells, 0 elsewhere."""
    found = np.zeros((18, 12))
    found[(scored.scores["y"] - 1) // 50, (scored.scores["x"] - 1) // 50] = values
    return found


def test_each_segment_holds_the_patches_of_its_class(scored, write) -> None:
    patient = scored()
    segmentation = hd.seg.Segmentation.from_dataset(write(patient)["segmentation-5"])
    probability = patient.scores["probability"].to_numpy()
    confident, idc = is_confident(probability, 0.95), is_idc(probability)
    expected = [confident & ~idc, confident & idc, ~confident]
    assert segmentation.segmentation_type.value == "BINARY"
    labels = [segmentation.get_segment_description(number).segment_label for number in segmentation.segment_numbers]
    assert tuple(labels) == PREDICTED
    planes = segmentation.get_total_pixel_matrix()
    assert planes.shape == (18, 12, 3)
    for number, patches in enumerate(expected):
        np.testing.assert_array_equal(planes[..., number], grid(patient, patches))
    said = segmentation.get_segment_description(2)
    assert said.segmented_property_type.value == "408643008"
    assert (said.algorithm_identification.name, said.algorithm_identification.version) == ("bcd-idc", "7")
    assert "Research use only" in str(said.algorithm_identification.parameters)


def test_the_probability_of_a_patch_is_the_stored_one(scored, write) -> None:
    patient = scored()
    (values,) = hd.pm.ParametricMap.from_dataset(write(patient)["probability-5"]).get_frames()
    present = grid(patient, 1) == 1
    stored = grid(patient, patient.scores["probability"])
    np.testing.assert_array_equal(values[present], stored[present].astype(np.float32))
    assert np.isnan(values[~present]).all()


@pytest.mark.parametrize("kind", ["segmentation-5", "probability-5"])
def test_a_pixel_is_a_patch_wide_and_lies_in_the_slide_s_frame_of_reference(scored, write, kind: str) -> None:
    files = write(scored())
    found, slide = files[kind], files["slide-5"]
    (measures,) = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert list(measures.PixelSpacing) == [0.2, 0.2]
    assert found.FrameOfReferenceUID == slide.FrameOfReferenceUID
    (reference,) = found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert reference.ReferencedSOPInstanceUID == slide.SOPInstanceUID
    # The centre of the first patch lies 25 pixels of 4 µm from the slide's corner, which is half of one before the
    # centre of its first pixel, at 0.
    assert place_of(found) == pytest.approx((0.098, 0.098))
    for frame in found.get("PerFrameFunctionalGroupsSequence", []):
        (place,) = frame.PlanePositionSlideSequence
        assert float(place.XOffsetInSlideCoordinateSystem) == pytest.approx(0.098)
        assert (place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix) == (1, 1)


def place_of(found) -> tuple[float, float]:
    (origin,) = found.TotalPixelMatrixOriginSequence
    return float(origin.XOffsetInSlideCoordinateSystem), float(origin.YOffsetInSlideCoordinateSystem)


def test_pixels_of_map_and_slide_that_show_the_same_lie_at_the_same_place(scored, write) -> None:
    files = write(scored())
    places = [
        hd.spatial.PixelToReferenceTransformer.for_image(files[name], for_total_pixel_matrix=True)
        for name in ("segmentation-5", "slide-5")
    ]
    patch = places[0](np.array([[7, 3]]))  # column, row: its centre
    corners = places[1](np.array([[7 * 50, 3 * 50], [7 * 50 + 49, 3 * 50 + 49]]))
    np.testing.assert_allclose(patch[0], corners.mean(axis=0), atol=1e-6)
