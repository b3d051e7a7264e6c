"""The map of a slide's patches, a pixel a patch: classes as a segmentation, probabilities as a parametric map.

Pixels are 0.2 mm wide, and lie in the frame of reference of the image that they are of. Both begin at the corner of
the grid, which is the corner of the slide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bcd import __version__
from bcd.files import SOFTWARE
from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS, SlideId
from bcd.scoring.export.dicom.source import pixel_spacing
from bcd.scoring.export.dicom.uids import object_uid
from bcd.scoring.export.scored import ScoredPatient
from bcd.scoring.geojson import PREDICTED
from bcd.scoring.mosaic import find_grid_place

if TYPE_CHECKING:
    import pandas as pd
    from highdicom import AlgorithmIdentificationSequence, PixelMeasuresSequence, PlanePositionSequence
    from highdicom.pm import ParametricMap
    from highdicom.seg import Segmentation
    from highdicom.sr import CodedConcept
    from numpy.typing import NDArray
    from pydicom import Dataset

USE = "Research use only. Not for diagnosis."

_USE = USE.partition(".")[0] + "."  # where 64 characters have to do

SCHEME = "99BCD"
"""Our own codes, where no public scheme has one."""

_EDGE = PATCH_PIXELS * MICRONS_PER_PIXEL / 1000  # mm


def write_code(value: str, scheme: str, meaning: str) -> CodedConcept:
    """Returns a code with its meaning."""
    from highdicom.sr import CodedConcept

    return CodedConcept(value, scheme, meaning)


def make_segmentation(image: Dataset, scored: ScoredPatient, slide: SlideId) -> Segmentation:
    """Makes the segments of a slide: predicted IDC, predicted none, and not confident.

    Args:
        image: The header of the image that they are of.
        scored: The patient.
        slide: The slide.
    """
    from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription

    from bcd.evaluation.calls import is_confident, is_idc

    patches = scored.of_slide(slide)
    probability = patches["probability"].to_numpy(np.float64)
    level = scored.options.outcome.level
    kinds = np.where(is_confident(probability, level), np.where(is_idc(probability), 2, 1), 3)
    codes = (
        (("85756007", "SCT", "Tissue"), ("no-idc", SCHEME, "Tissue predicted to hold no IDC")),
        (
            ("49755003", "SCT", "Morphologically Abnormal Structure"),
            ("408643008", "SCT", "Infiltrating duct carcinoma of breast"),
        ),
        (("85756007", "SCT", "Tissue"), ("not-confident", SCHEME, "Tissue of which the model is not confident")),
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=write_code(*category),
            segmented_property_type=write_code(*kind),
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identify_model(scored),
        )
        for number, (label, (category, kind)) in enumerate(zip(PREDICTED, codes, strict=True), 1)
    ]
    made = Segmentation(
        source_images=[image],
        pixel_array=_lay_on_grid(patches, kinds.astype(np.uint8)),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        content_label="IDC_PATCHES",
        content_description=f"Patches, confident at {level:g}. {_USE}",
        **_describe_map(image, scored, slide, "segmentation", 2),
    )
    made.PatientOrientation = ""  # of a slide, none: it must be there and may be empty
    return made


def make_probability_map(image: Dataset, scored: ScoredPatient, slide: SlideId) -> ParametricMap:
    """Makes the map of the calibrated probability of IDC, not a number where there is no patch; as above."""
    from highdicom import VOILUTTransformation
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from pydicom.sr.codedict import codes

    patches = scored.of_slide(slide)
    mapping = RealWorldValueMapping(
        lut_label="P_IDC",
        lut_explanation="Calibrated probability of IDC",
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=write_code("probability-idc", SCHEME, "Calibrated probability of IDC"),
    )
    values = patches["probability"].to_numpy(np.float32)
    return ParametricMap(
        source_images=[image],
        pixel_array=_lay_on_grid(patches, values, empty=np.nan),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="IDC_PROBABILITY",
        content_description=f"Calibrated probability of IDC. {_USE}",
        **_describe_map(image, scored, slide, "probability", 3),
    )


def identify_model(scored: ScoredPatient) -> AlgorithmIdentificationSequence:
    """Returns what scored, as DICOM says it."""
    from highdicom import AlgorithmIdentificationSequence

    name, _, version = scored.bundle.rpartition("/")
    return AlgorithmIdentificationSequence(
        name=name or version,
        family=write_code("123109", "DCM", "Artificial Intelligence"),
        version=version,
        source="bcd",
        parameters={"confidence": f"{scored.options.outcome.level:g}", "use": USE},
    )


def _lay_on_grid(patches: pd.DataFrame, values: NDArray[Any], empty: float = 0) -> NDArray[Any]:
    """Returns the values at their cells of the grid, (1, rows, columns)."""
    rows, columns = find_grid_place(patches["y"]), find_grid_place(patches["x"])
    grid = np.full((1, int(rows.max()) + 1, int(columns.max()) + 1), empty, values.dtype)
    grid[0, rows, columns] = values
    return grid


def _describe_map(image: Dataset, scored: ScoredPatient, slide: SlideId, kind: str, number: int) -> dict[str, Any]:
    """Returns what both maps say of themselves."""
    from highdicom import PlaneOrientationSequence
    from highdicom.enum import CoordinateSystemNames

    return {
        "series_instance_uid": object_uid(scored, kind, slide, "series"),
        "series_number": number,
        "sop_instance_uid": object_uid(scored, kind, slide),
        "instance_number": 1,
        "series_description": describe_series(scored, kind),
        "pixel_measures": _measure(image),
        "plane_orientation": PlaneOrientationSequence(CoordinateSystemNames.SLIDE, image.ImageOrientationSlide),
        "plane_positions": [_place(image)],
        "tile_pixel_array": True,
        "tile_size": _tile_size(scored.of_slide(slide)),
        **describe_maker(scored),
    }


def describe_series(scored: ScoredPatient, kind: str) -> str:
    """Returns what a series is, in the 64 characters that it may have."""
    return f"{scored.caution}{_USE} {kind.capitalize()} by {scored.bundle}"[:64]


def describe_maker(scored: ScoredPatient) -> dict[str, Any]:
    """Returns what every object says of what made it, and when."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return {
        "manufacturer": SOFTWARE,
        "manufacturer_model_name": SOFTWARE,
        "software_versions": __version__,
        "device_serial_number": "none",
        "content_date": scored.at.date(),
        "content_time": scored.at.time().replace(microsecond=0),
        "coding_schemes": [CodingSchemeIdentificationItem(SCHEME, name="bcd", responsible_organization="bcd")],
    }


def _tile_size(patches: pd.DataFrame) -> tuple[int, int]:
    """One frame holds the map of a slide: at most a few hundred pixels either way."""
    return int(find_grid_place(patches["y"]).max()) + 1, int(find_grid_place(patches["x"]).max()) + 1


def _measure(image: Dataset) -> PixelMeasuresSequence:
    from highdicom import PixelMeasuresSequence

    thickness = image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness
    return PixelMeasuresSequence((_EDGE, _EDGE), slice_thickness=thickness)


def _place(image: Dataset) -> PlanePositionSequence:
    """Returns where the centre of the first patch lies: DICOM places pixels by their centres."""
    from highdicom import PlanePositionSequence
    from highdicom.enum import CoordinateSystemNames

    origin = image.TotalPixelMatrixOriginSequence[0]
    start = np.array([origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem, 0], float)
    along_row, along_column = np.array(image.ImageOrientationSlide, float).reshape(2, 3)
    down, across = pixel_spacing(image)
    centre = start + along_row * (_EDGE - across) / 2 + along_column * (_EDGE - down) / 2
    return PlanePositionSequence(
        CoordinateSystemNames.SLIDE, image_position=centre.round(6).tolist(), pixel_matrix_position=(1, 1)
    )
