"""A slide put together of its patches, as a whole-slide image of one level: for patches that came without a slide.

It is derived, of 4 µm a pixel, and compressed with loss (JPEG, as scanners do): the pixels that were scored are those
of the store. Its frame of reference is its own: the first pixel of the grid lies at 0, and rows run along x.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd import __version__
from bcd.files import SOFTWARE, whole_file
from bcd.patches import MICRONS_PER_PIXEL, SlideId
from bcd.scoring.export.dicom.source import WHOLE_SLIDE, describe_subject
from bcd.scoring.export.dicom.uids import make_uid, object_uid, study_uid
from bcd.scoring.export.pyramid import TILE, Pyramid
from bcd.scoring.export.scored import ScoredPatient

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

_QUALITY = 90
_THICKNESS = 0.001  # mm; of the focal plane, which must be said and nobody measured


def write_slide(path: Path, scored: ScoredPatient, slide: SlideId) -> Dataset:
    """Writes the image, and returns its header.

    Raises:
        BcdError: The slide cannot be drawn.
    """
    from pydicom.encaps import encapsulate

    pyramid = Pyramid(scored.of_slide(slide), scored.read)
    header = _describe_slide(scored, slide, *pyramid.sizes[0])
    frames = [_encode_jpeg(tile) for tile in pyramid.tiles(0)]
    header.NumberOfFrames = len(frames)
    header.LossyImageCompressionRatio = round(3 * TILE**2 * len(frames) / sum(map(len, frames)), 2)
    header.PixelData = encapsulate(frames)
    header["PixelData"].is_undefined_length = True
    with whole_file(path) as partial:
        header.save_as(partial, enforce_file_format=True)
    del header.PixelData
    return header


def _encode_jpeg(tile: NDArray[np.uint8]) -> bytes:
    import cv2

    how = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    how += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(tile, cv2.COLOR_RGB2BGR), how)[1].tobytes())


def _describe_slide(scored: ScoredPatient, slide: SlideId, width: int, height: int) -> Dataset:
    """Returns the header of the image without its frames, by PS3.3 A.32.8."""
    from highdicom import PixelMeasuresSequence
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import JPEGBaseline8Bit

    at = scored.at
    spacing = MICRONS_PER_PIXEL / 1000
    kind = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    values = {
        **describe_subject(scored, slide),
        "SOPClassUID": WHOLE_SLIDE,
        "SOPInstanceUID": object_uid(scored, "slide", slide),
        "StudyInstanceUID": study_uid(scored),
        "SeriesInstanceUID": object_uid(scored, "slide", slide, "series"),
        "FrameOfReferenceUID": make_uid("frame of reference", scored.hospital, scored.patient, slide),
        "PositionReferenceIndicator": "SLIDE_CORNER",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "SeriesDescription": "Slide put together of its patches",
        "Manufacturer": SOFTWARE,
        "ManufacturerModelName": SOFTWARE,
        "DeviceSerialNumber": "none",
        "SoftwareVersions": __version__,
        "ContentDate": f"{at:%Y%m%d}",
        "ContentTime": f"{at:%H%M%S}",
        "AcquisitionDateTime": f"{at:%Y%m%d%H%M%S}",  # when it was made: when it was scanned is not known
        "ImageType": kind,
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "YBR_FULL_422",
        "PlanarConfiguration": 0,
        "Rows": TILE,
        "Columns": TILE,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "LossyImageCompression": "01",
        "LossyImageCompressionMethod": "ISO_10918_1",
        "BurnedInAnnotation": "NO",
        "SpecimenLabelInImage": "NO",
        "FocusMethod": "AUTO",
        "ExtendedDepthOfField": "NO",
        "VolumetricProperties": "VOLUME",
        "ImagedVolumeWidth": width * spacing,
        "ImagedVolumeHeight": height * spacing,
        "ImagedVolumeDepth": 1000 * _THICKNESS,
        "TotalPixelMatrixColumns": width,
        "TotalPixelMatrixRows": height,
        "TotalPixelMatrixFocalPlanes": 1,
        "ImageOrientationSlide": [1, 0, 0, 0, 1, 0],
        "DimensionOrganizationType": "TILED_FULL",
        "NumberOfOpticalPaths": 1,
        "AcquisitionContextSequence": [],
    }
    for name, value in values.items():
        setattr(header, name, value)
    origin, organization, shared, frame_type = Dataset(), Dataset(), Dataset(), Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    header.TotalPixelMatrixOriginSequence = [origin]
    organization.DimensionOrganizationUID = object_uid(scored, "slide", slide, "dimensions")
    header.DimensionOrganizationSequence = [organization]
    frame_type.FrameType = kind
    shared.PixelMeasuresSequence = PixelMeasuresSequence((spacing, spacing), slice_thickness=_THICKNESS)
    shared.WholeSlideMicroscopyImageFrameTypeSequence = [frame_type]
    shared.OpticalPathIdentificationSequence = [_identify_path()]
    header.SharedFunctionalGroupsSequence = [shared]
    header.OpticalPathSequence = [_describe_path()]
    return header


def _identify_path() -> Dataset:
    from pydicom import Dataset

    path = Dataset()
    path.OpticalPathIdentifier = "1"
    return path


def _describe_path() -> Dataset:
    """Returns the optical path: brightfield, in sRGB, which patches are taken to be."""
    from highdicom.sr import CodedConcept
    from PIL import ImageCms

    path = _identify_path()
    path.IlluminationTypeCodeSequence = [CodedConcept("111744", "DCM", "Brightfield illumination")]
    path.IlluminationColorCodeSequence = [CodedConcept("414298005", "SCT", "Full Spectrum")]
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # when the profile was made, which is now
    path.ICCProfile = bytes(profile)
    return path
