"""The header of a whole-slide image, as far as what refers to it needs it: never who the patient is.

Only the elements of a list are read off a file, so nothing else can get into what is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.drift.profiles import choose_evenly
from bcd.errors import BcdError
from bcd.patches import SlideId
from bcd.scoring.export.scored import ScoredPatient

if TYPE_CHECKING:
    from pydicom import Dataset

    from bcd.store.frames import Frame

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
"""The class of whole-slide images, VL Whole Slide Microscopy Image Storage."""

_IDENTIFIERS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
)  # fmt: skip
_GEOMETRY = (
    "ImageType", "Rows", "Columns", "NumberOfFrames", "TotalPixelMatrixRows", "TotalPixelMatrixColumns",
    "TotalPixelMatrixOriginSequence", "ImageOrientationSlide",
)  # fmt: skip
_OPTIONAL = (
    "DimensionOrganizationType", "PositionReferenceIndicator",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
_SHARED = "SharedFunctionalGroupsSequence"
_NEEDED = (*_IDENTIFIERS, *_GEOMETRY, _SHARED)
_TOLERANCE = 0.001
_COMPARED = 5  # patches
_LONGEST = 64  # characters of a name


def read_source(path: Path, scored: ScoredPatient, slide: SlideId) -> Dataset:
    """Reads the source of a slide that was delivered as DICOM.

    Args:
        path: A file of the series, or the folder of one series.
        scored: The patient, as which the header then speaks.
        slide: The slide, which bcd cut itself.

    Returns:
        Identifiers and geometry of the finest level, with the patient's and the slide's names of the store.

    Raises:
        BcdError: It is no whole-slide image of one series, or not the one that the slide was cut from.
    """
    frame = scored.frames.get(slide)
    if frame is None:
        raise BcdError(
            f"Slide {slide} of patient {scored.key} was delivered as patches: where they lie in {path} is not known.",
            "Leave --source out: the slide is then put together of its patches.",
        )
    levels = {file: header for file in _list_files(path) if (header := _read_header(file)) is not None}
    if len(series := {str(header.SeriesInstanceUID) for header in levels.values()}) != 1:
        raise BcdError(
            f"{path} holds {len(series)} series of whole-slide images.",
            "Name the folder of the one that the slide was cut from.",
        )
    finest, header = max(levels.items(), key=lambda each: int(each[1].TotalPixelMatrixColumns))
    _require_same_geometry(path, header, scored, slide, frame)
    _require_same_pixels(finest, scored, slide)
    for name, value in describe_subject(scored, slide).items():
        setattr(header, name, value)
    return header


def _list_files(path: Path) -> list[Path]:
    """Lists the files of the folder: those of one series lie beside each other."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BcdError(f"There is no file or folder {path}.", "Name the DICOM slide with --source.")
    return sorted(each for each in path.iterdir() if each.is_file())


def _read_header(path: Path) -> Dataset | None:
    """Reads what is on the list off a file; None where it is no level of a whole-slide image."""
    from pydicom import Dataset, dcmread
    from pydicom.errors import InvalidDicomError

    try:
        read = dcmread(path, stop_before_pixels=True, specific_tags=[*_NEEDED, *_OPTIONAL])
    except InvalidDicomError:
        return None
    if read.get("SOPClassUID") != WHOLE_SLIDE or "VOLUME" not in read.get("ImageType", ()):
        return None
    if missing := [name for name in _NEEDED if name not in read]:
        raise BcdError(f"{path} does not say its {missing[0]}.", "Hand over the series as the scanner wrote it.")
    measures = read.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
    if not measures:
        raise BcdError(f"{path} does not say the spacing of its pixels.", "Hand over what the scanner wrote.")
    header = Dataset()
    for name in (*_IDENTIFIERS, *_GEOMETRY, *_OPTIONAL):
        if name in read:
            setattr(header, name, read[name].value)
    shared, spacing = Dataset(), Dataset()
    spacing.PixelSpacing = measures[0].PixelSpacing
    spacing.SliceThickness = measures[0].get("SliceThickness", 0.001)
    shared.PixelMeasuresSequence = [spacing]
    header.SharedFunctionalGroupsSequence = [shared]
    return header


def _require_same_geometry(path: Path, header: Dataset, scored: ScoredPatient, slide: SlideId, frame: Frame) -> None:
    """Compares spacing and size with those of the slide.

    Raises:
        BcdError: They differ.
    """
    down, across = (1000 * float(each) for each in pixel_spacing(header))
    patches = scored.of_slide(slide)
    corners = frame.corners(patches["x"], patches["y"]).max(axis=0) + frame.step
    size = header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows
    alike = all(
        abs(said / known - 1) <= _TOLERANCE and reach <= extent + 1
        for said, known, reach, extent in zip(
            (across, down), (frame.spacing_x, frame.spacing_y), corners, size, strict=True
        )
    )
    if not alike:
        raise BcdError(
            f"{path} is another slide than slide {slide} of patient {scored.key}: it has {size[0]:,} x {size[1]:,}"
            f" pixels of {across:.4g} x {down:.4g} µm, and the patches were cut at {frame.spacing_x:.4g} x"
            f" {frame.spacing_y:.4g} µm and reach to {corners[0]:,.0f}, {corners[1]:,.0f}.",
            "Name the one that the patches were cut from.",
        )


def _require_same_pixels(path: Path, scored: ScoredPatient, slide: SlideId) -> None:
    """Cuts a few patches of the source again and compares them with the stored ones.

    Raises:
        BcdError: They differ, or it cannot be read.
    """
    from bcd.admission.slides.tiling import SlideError, cut_patches

    patches = scored.of_slide(slide)
    some = patches.iloc[choose_evenly(len(patches), _COMPARED)]
    try:
        cut = cut_patches(path, some["x"], some["y"])
    except SlideError as error:
        raise BcdError(f"{path} cannot be read: {error}", "Name the slide as the hospital delivered it.") from error
    differing = np.abs(cut.astype(np.int16) - scored.read(some)).max(axis=(1, 2, 3)) > 1
    if differing.any():
        raise BcdError(
            f"{path} is another slide than slide {slide} of patient {scored.key}: {int(differing.sum())} of"
            f" {len(some)} patches that were compared show something else.",
            "Name the one that the patches were cut from.",
        )


def describe_subject(scored: ScoredPatient, slide: SlideId) -> dict[str, Any]:
    """Returns patient, study and specimen as every file that is written names them, by DICOM's keywords."""
    from highdicom import SpecimenDescription
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    from bcd.scoring.export.dicom.uids import make_uid

    container = f"{scored.patient}_idx{slide}"[-_LONGEST:]
    kind = Dataset()
    kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning = "433466003", "SCT", "Microscope slide"
    specimen = SpecimenDescription(
        specimen_id=container,
        specimen_uid=make_uid("specimen", scored.hospital, scored.patient, slide),
        primary_anatomic_structures=[codes.SCT.Breast],
    )
    return {
        "Modality": "SM",
        "PatientID": scored.patient,
        "IssuerOfPatientID": scored.hospital,
        "PatientName": f"{scored.patient[: _LONGEST - 1]}^",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyID": "",
        "StudyDate": "",
        "StudyTime": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "ContainerIdentifier": container,
        "IssuerOfTheContainerIdentifierSequence": [],
        "ContainerTypeCodeSequence": [kind],
        "SpecimenDescriptionSequence": [specimen],
    }


def pixel_spacing(header: Dataset) -> tuple[float, float]:
    """Returns the distance between rows and between columns, in mm."""
    down, across = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    return float(down), float(across)
