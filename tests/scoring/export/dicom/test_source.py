"""A slide that was delivered as DICOM: what is written refers to it, and takes nothing personal from it."""

from __future__ import annotations

import shutil

import pydicom
import pytest

from bcd.errors import BcdError
from bcd.scoring.export.dicom.write import write_dicom


def origin_of(found) -> tuple[float, float]:
    (origin,) = found.TotalPixelMatrixOriginSequence
    return float(origin.XOffsetInSlideCoordinateSystem), float(origin.YOffsetInSlideCoordinateSystem)


def test_what_is_written_refers_to_the_source_and_there_is_no_second_slide(make_source, delivered, write) -> None:
    source = make_source()
    files = write(delivered(source), source)
    assert set(files) == {"segmentation-0", "probability-0", "report"}
    for found in files.values():
        assert found.StudyInstanceUID == "1.2.3.5"
        assert found.SeriesInstanceUID != "1.2.3.6.0"
    for name in ("segmentation-0", "probability-0"):
        (reference,) = files[name].ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert reference.ReferencedSOPInstanceUID == "1.2.3.4.0.0"
        assert files[name].FrameOfReferenceUID == "1.2.3.7"


def test_nothing_personal_of_the_source_is_in_any_file(make_source, personal, delivered, write, tmp_path) -> None:
    source = make_source()
    files = write(delivered(source), source)
    assert {(each.PatientID, str(each.PatientName)) for each in files.values()} == {("8867", "8867^")}
    (header,) = (path.read_bytes() for path in source.iterdir())
    for value in personal.values():
        if len(value) > 1:
            assert value.encode() in header
            for path in (tmp_path / "dicom").iterdir():
                assert value.encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("orientation", "origin"),
    [
        # The first patch's centre from that of the first pixel, 0.0005 mm wide, at (10, 20): 0.1 - 0.00025 each way.
        ([1, 0, 0, 0, 1, 0], (10.09975, 20.09975)),
        ([0, -1, 0, -1, 0, 0], (9.90025, 19.90025)),
        ([0, 1, 0, 1, 0, 0], (10.09975, 20.09975)),
        ([-1, 0, 0, 0, 1, 0], (9.90025, 20.09975)),
    ],
)
def test_the_map_lies_on_the_source_however_the_slide_was_scanned(
    make_source, delivered, write, orientation, origin
) -> None:
    place = pydicom.Dataset()
    place.XOffsetInSlideCoordinateSystem, place.YOffsetInSlideCoordinateSystem = 10, 20
    source = make_source(ImageOrientationSlide=orientation, TotalPixelMatrixOriginSequence=[place])
    for name, found in write(delivered(source), source).items():
        if name != "report":
            assert origin_of(found) == pytest.approx(origin)
            assert list(found.ImageOrientationSlide) == orientation
            assert (found.TotalPixelMatrixRows, found.TotalPixelMatrixColumns) == (2, 3)


def refused(scored, source, tmp_path) -> str:
    with pytest.raises(BcdError) as error:
        list(write_dicom(tmp_path / "new", scored, source))
    assert not (tmp_path / "new").exists()
    return str(error.value)


def test_another_slide_is_refused_by_its_geometry_or_its_pixels(make_source, delivered, tmp_path) -> None:
    patient = delivered(make_source())
    assert "show something else" in refused(patient, make_source(seed=1, folder="other"), tmp_path)
    assert "0.25 x 0.25 µm" in refused(patient, make_source(folder="finer", spacing=0.25), tmp_path)
    small = make_source(folder="small", TotalPixelMatrixRows=500)
    assert "another slide" in refused(patient, small, tmp_path)


def test_what_is_no_single_whole_slide_image_is_refused(make_source, delivered, scored, tmp_path) -> None:
    source = make_source()
    patient = delivered(source)
    assert "no file or folder" in refused(patient, tmp_path / "nowhere", tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("no DICOM")
    assert "0 series" in refused(patient, tmp_path / "notes", tmp_path)
    shutil.copytree(source, tmp_path / "two")
    make_source(seed=3, folder="two")
    assert "2 series" in refused(patient, tmp_path / "two", tmp_path)
    label = make_source(folder="label", ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])
    assert "0 series" in refused(patient, label, tmp_path)


def test_a_truncated_source_is_refused(make_source, delivered, tmp_path) -> None:
    source = make_source()
    patient = delivered(source)
    (path,) = source.iterdir()
    path.write_bytes(path.read_bytes()[:-1_000_000])
    assert "cannot be read" in refused(patient, source, tmp_path)


def test_patches_have_no_place_in_a_source(make_source, scored, tmp_path) -> None:
    assert "delivered as patches" in refused(scored(), make_source(), tmp_path)


def test_the_finest_level_is_the_one_that_is_referred_to(make_source, delivered, write) -> None:
    source = make_source()
    patient = delivered(source)
    make_source(halved=True, spacing=1.0, ImageType=["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"])
    assert len(list(source.iterdir())) == 2
    (reference,) = write(patient, source)["segmentation-0"].ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert reference.ReferencedSOPInstanceUID == "1.2.3.4.0.0"
