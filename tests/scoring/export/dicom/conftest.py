from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from bcd.admission.slides.tiling import tile_slide
from bcd.scoring.export.dicom.write import write_dicom
from bcd.scoring.export.scored import ScoredPatient

TILE, STEP = 256, 400  # a patch is 400 pixels of 0.5 µm


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., dict[str, pydicom.Dataset]]:
    """Writes a patient as DICOM and reads all of it back, by the names of the files."""

    def write_all(scored: ScoredPatient, source: Path | None = None) -> dict[str, pydicom.Dataset]:
        paths = list(write_dicom(tmp_path / "dicom", scored, source))
        assert sorted(paths) == sorted((tmp_path / "dicom").iterdir())
        return {path.stem: pydicom.dcmread(path) for path in paths}

    return write_all


PERSONAL = {
    "PatientName": "Doe^Jane",
    "PatientID": "4711-MRN",
    "PatientBirthDate": "19500102",
    "PatientSex": "F",
    "PatientAddress": "Elm Street 5",
    "AccessionNumber": "ACC-990",
    "StudyID": "STUDY-77",
    "StudyDate": "20260102",
    "StudyDescription": "Left breast, Doe",
    "ReferringPhysicianName": "Who^Doctor",
    "InstitutionName": "Saint Elsewhere",
    "DeviceSerialNumber": "SN-12345",
    "ContainerIdentifier": "BARCODE-31337",
    "SeriesDescription": "Doe level 3",
}
"""What a scanner's header says that must not go anywhere."""


@pytest.fixture
def personal() -> dict[str, str]:
    return PERSONAL


@pytest.fixture
def make_source(tmp_path: Path, scored) -> Callable[..., Path]:
    """Writes a DICOM slide as a hospital has it, with personal data, and returns its folder, d/8867."""

    def make(
        seed: int = 0, folder: str = "d/8867", spacing: float = 0.5, *, halved: bool = False, **changed: Any
    ) -> Path:
        template, *_ = write_dicom(tmp_path / "template", scored())
        header = pydicom.dcmread(template)
        pixels = np.random.default_rng(seed).integers(60, 256, (2 * STEP, 3 * STEP, 3), dtype=np.uint8)
        pixels[..., 1] //= 3
        if halved:
            pixels = pixels.reshape(STEP, 2, STEP * 3 // 2, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
        height, width = pixels.shape[:2]
        down, across = -(-height // TILE), -(-width // TILE)
        padded = np.pad(pixels, ((0, down * TILE - height), (0, across * TILE - width), (0, 0)))
        header.PixelData = padded.reshape(down, TILE, across, TILE, 3).swapaxes(1, 2).tobytes()
        header["PixelData"].is_undefined_length = False
        header["PixelData"].VR = "OB"
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [spacing / 1000] * 2
        values = {
            "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            "ManufacturerModelName": "Scanner",
            "SOPInstanceUID": f"1.2.3.4.{seed}.{int(halved)}",
            "StudyInstanceUID": "1.2.3.5",
            "SeriesInstanceUID": f"1.2.3.6.{seed}",
            "FrameOfReferenceUID": "1.2.3.7",
            "Rows": TILE,
            "Columns": TILE,
            "NumberOfFrames": down * across,
            "TotalPixelMatrixColumns": width,
            "TotalPixelMatrixRows": height,
            "PhotometricInterpretation": "RGB",
            "LossyImageCompression": "00",
            **PERSONAL,
            **changed,
        }
        for keyword, value in values.items():
            setattr(header, keyword, value)
        del header.LossyImageCompressionRatio, header.LossyImageCompressionMethod
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        path = tmp_path / folder / f"{seed}-{int(halved)}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        header.save_as(path)
        return path.parent

    return make


@pytest.fixture
def delivered(as_scored) -> Callable[[Path], ScoredPatient]:
    """Cuts the DICOM slide of a folder, and makes a scored patient of it, whose slide is 0."""

    def cut(source: Path) -> ScoredPatient:
        parts = list(tile_slide(next(source.iterdir()), None))
        xs, ys, pixels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("xs", "ys", "pixels"))
        patches = pd.DataFrame({"hospital": "east", "patient": "8867", "slide": "0", "x": xs, "y": ys})
        patches["label"] = pd.array([None] * len(xs), dtype="Int8")
        return as_scored(patches, pixels, {"0": parts[0].frame})

    return cut
