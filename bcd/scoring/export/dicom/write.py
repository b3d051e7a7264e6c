"""All that a scored patient leaves in DICOM, in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import BcdError
from bcd.files import whole_file
from bcd.patches import SlideId
from bcd.progress import track_progress
from bcd.scoring.export.scored import ScoredPatient, require_export_packages

if TYPE_CHECKING:
    from pydicom import Dataset


def require_dicom() -> None:
    """Makes sure that what writes DICOM is installed.

    Raises:
        BcdError: It is not.
    """
    require_export_packages("dicom", ["highdicom", "pydicom"], "dicom")


def write_dicom(folder: Path, scored: ScoredPatient, source: Path | None = None) -> Iterator[Path]:
    """Writes the maps of each slide and the report, each file whole or absent, and yields each when it is there.

    Args:
        folder: Where to; it is made.
        scored: The patient, with the slides that are written.
        source: The DICOM slide that the one slide was cut from; None: slides are put together of their patches.

    Raises:
        BcdError: highdicom is not installed, a slide cannot be drawn, or the source is not the slide's.
    """
    require_dicom()
    from bcd.scoring.export.dicom.maps import make_probability_map, make_segmentation
    from bcd.scoring.export.dicom.report import make_report
    from bcd.scoring.export.dicom.slide import write_slide
    from bcd.scoring.export.dicom.source import read_source

    if source is not None and len(scored.slides) > 1:
        raise BcdError(
            f"Patient {scored.key} has slides {', '.join(scored.slides)}, and {source} is one.",
            "Name with --slide the one that it is.",
        )
    images: dict[SlideId, Dataset] = {}
    written: list[Dataset] = []
    with track_progress("Writing DICOM", total=len(scored.slides)) as advance:
        for slide in scored.slides:
            if source is not None:
                images[slide] = read_source(source, scored, slide)
            else:
                images[slide] = write_slide(folder / f"slide-{slide}.dcm", scored, slide)
                yield folder / f"slide-{slide}.dcm"
            maps = {"segmentation": make_segmentation, "probability": make_probability_map}
            for kind, make in maps.items():
                written.append(make(images[slide], scored, slide))
                yield _save(folder / f"{kind}-{slide}.dcm", written[-1])
            advance(1)
    yield _save(folder / "report.dcm", make_report(images, [*images.values(), *written], scored))


def _save(path: Path, made: Dataset) -> Path:
    with whole_file(path) as partial:
        made.save_as(partial, enforce_file_format=True)
    return path
