"""Slide and heatmap as pyramidal OME-TIFFs, for QuPath, OMERO and whatever else reads them through Bio-Formats.

    slide-5.ome.tiff  heatmap-5.ome.tiff

Both have the same geometry: patch pixels of 4 µm, from 0 on at the corner of the grid, as `patches-5.geojson` counts
them. The finest level of the slide holds the admitted pixels, bit for bit; coarser levels are in SubIFDs.

A slide that bcd cut itself is not written: its pixels are finer than those of patches, and what is drawn over the
patches would come back at the wrong place.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bcd import __version__
from bcd.errors import BcdError
from bcd.files import SOFTWARE, whole_file
from bcd.patches import MICRONS_PER_PIXEL
from bcd.progress import track_progress
from bcd.scoring.export.pyramid import TILE, Pyramid
from bcd.scoring.export.scored import ScoredPatient, require_export_packages
from bcd.scoring.heatmap import COLOUR_MAP, blend_heatmap

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def require_ome_tiff(patient: str, cut: Collection[str]) -> None:
    """Makes sure that a patient can be written.

    Args:
        patient: The patient in one word.
        cut: The slides among the patient's that bcd cut itself.

    Raises:
        BcdError: tifffile is not installed, or there is such a slide.
    """
    require_export_packages("ome-tiff", ["tifffile"], "ome")
    for slide in cut:
        raise BcdError(
            f"Slide {slide} of patient {patient} was delivered whole, in finer pixels than those of patches.",
            f"Open the delivered slide, and patches-{slide}.geojson of the scores over it: it needs no OME-TIFF.",
        )


def write_ome_tiffs(folder: Path, scored: ScoredPatient) -> Iterator[Path]:
    """Writes two files a slide, each whole or absent, and yields each when it is there.

    Args:
        folder: Where to; it is made.
        scored: The patient, with the slides that are written.

    Raises:
        BcdError: tifffile is not installed, bcd cut one of the slides itself, or one cannot be drawn.
    """
    require_ome_tiff(scored.key, [slide for slide in scored.slides if slide in scored.frames])

    def colour(patches: pd.DataFrame) -> NDArray[np.uint8]:
        return blend_heatmap(scored.read(patches), patches["probability"].to_numpy(), scored.options)

    for slide in scored.slides:
        patches, name = scored.of_slide(slide), f"{scored.key}, slide {slide}"
        pictures = {
            "slide": (scored.read, f"Patient {name}", "The slide, put together of its patches."),
            "heatmap": (colour, f"Heatmap of patient {name}", _describe_heatmap(scored)),
        }
        for kind, (draw, title, said) in pictures.items():
            path = folder / f"{kind}-{slide}.ome.tiff"
            identity = f"{scored.key}/{scored.bundle}/{scored.content}"
            _write_pyramid(path, Pyramid(patches, draw), identity=identity, name=title, said=said)
            yield path


def _describe_heatmap(scored: ScoredPatient) -> str:
    return (
        f"{scored.caution}Calibrated probability of IDC by {scored.bundle}, in the colours of {COLOUR_MAP} from 0"
        " (blue) to 1 (yellow), over the slide; strongest where confidently IDC at"
        f" {scored.options.outcome.level:g}, faintest where confidently none."
    )


def _write_pyramid(path: Path, pyramid: Pyramid, *, identity: str, name: str, said: str) -> None:
    from tifffile import TiffWriter

    about = {
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{identity}/{path.name}")),  # by default, one of time and machine
        "Creator": f"bcd {__version__}",
        "Name": name,
        "Description": f"{said} Cells without a patch are white. Research use only.",
        "PhysicalSizeX": MICRONS_PER_PIXEL,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": MICRONS_PER_PIXEL,
        "PhysicalSizeYUnit": "µm",
    }
    with (
        track_progress(f"Writing {path.name}", total=len(pyramid.sizes)) as advance,
        whole_file(path) as partial,
        TiffWriter(partial, ome=True, bigtiff=True) as file,
    ):
        for level, (width, height) in enumerate(pyramid.sizes):
            file.write(
                pyramid.tiles(level),
                shape=(height, width, 3),
                dtype="uint8",
                photometric="rgb",
                tile=(TILE, TILE),
                compression="adobe_deflate",
                predictor=True,
                software=SOFTWARE,
                resolution=(10_000 / MICRONS_PER_PIXEL / 2**level,) * 2,
                resolutionunit="CENTIMETER",
                maxworkers=1,
                **({"subfiletype": 1} if level else {"subifds": len(pyramid.sizes) - 1, "metadata": about}),
            )
            advance(1)
