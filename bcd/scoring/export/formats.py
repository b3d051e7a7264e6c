"""The formats in which a scored patient is exported."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bcd.scoring.export.scored import ScoredPatient

Format = Literal["ome-tiff", "dicom"]
"""For QuPath and OMERO, and for a PACS."""


def require_export_format(format: Format, *, patient: str, cut: Collection[str]) -> None:  # noqa: A002
    """Makes sure, before anything is scored or written, that a patient can be exported in a format.

    Args:
        format: The format.
        patient: The patient in one word.
        cut: The slides among the patient's that bcd cut itself.

    Raises:
        BcdError: What writes it is not installed, or it is not for such slides.
    """
    from bcd.scoring.export.dicom.write import require_dicom
    from bcd.scoring.export.ome_tiff import require_ome_tiff

    if format == "ome-tiff":
        require_ome_tiff(patient, cut)
    else:
        require_dicom()


def write_patient_export(
    folder: Path,
    scored: ScoredPatient,
    format: Format,  # noqa: A002
    source: Path | None = None,
) -> Iterator[Path]:
    """Writes a scored patient in a format, each file whole or absent, and yields each when it is there.

    Args:
        folder: Where to; it is made.
        scored: The patient, with the slides that are written.
        format: As what.
        source: For DICOM, the DICOM slide that the one slide was cut from.

    Raises:
        BcdError: It cannot be written in this format, or the source is not the slide's.
    """
    from bcd.scoring.export.dicom.write import write_dicom
    from bcd.scoring.export.ome_tiff import write_ome_tiffs

    return write_ome_tiffs(folder, scored) if format == "ome-tiff" else write_dicom(folder, scored, source)


def write_ome_beside_report(folder: Path, scored: ScoredPatient) -> None:
    """Writes OME-TIFFs of the slides that were delivered as patches; of the others there is a better picture."""
    if as_patches := [slide for slide in scored.slides if slide not in scored.frames]:
        list(write_patient_export(folder, scored.choose(as_patches), "ome-tiff"))
