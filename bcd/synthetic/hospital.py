"""The synthetic hospital: its patients' slides, cut like the public IDC set and handed over as two deliveries.

Examples:
    >>> from pathlib import Path
    >>> options = HospitalOptions(patients=2, large_patients=0, small_patches=9)
    >>> [path.name for path in draw_hospital(options, Path("/tmp/hospital"))]
    ['delivery-1.zip', 'delivery-2.zip']
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bcd.files import whole_file
from bcd.patches import PATCH_PIXELS, PatchName, SlideId
from bcd.progress import say_progress, track_progress
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import DrawnPatient, draw_synthetic_patients
from bcd.synthetic.slide import DrawnSlide, draw_synthetic_slide
from bcd.synthetic.tissue import Mask

DRAWING = 2
"""Counts changes of the drawing itself: part of what a delivery was made from."""

_SLIDE = SlideId("5")  # as in the public set
_TIMESTAMP = (2020, 1, 1, 0, 0, 0)
_LEAST_TISSUE = 0.1
_LEAST_TUMOUR = 0.5


@dataclass(frozen=True)
class DrawnPatch:
    """One patch of a drawn slide: its name with the label, and its pixels (at most 50, at most 50, 3), RGB, uint8."""

    name: PatchName
    pixels: NDArray[np.uint8]


def draw_hospital(options: HospitalOptions, folder: Path) -> list[Path]:
    """Writes the hospital's two deliveries, `delivery-1.zip` and `delivery-2.zip`, whole.

    Equal options write equal bytes. Deliveries that the same options made already are left as they are.

    Returns:
        The paths of the deliveries, in the order in which they arrive.
    """
    # Each zip says in its comment what it was made from.
    origin = f"bcd synthetic hospital {options.fingerprint()}, drawing {DRAWING}".encode()
    paths = [folder / f"delivery-{number}.zip" for number in (1, 2)]
    patients = draw_synthetic_patients(options)
    if all(_read_zip_origin(path) == origin for path in paths):
        say_progress(f"The synthetic hospital was drawn before: {len(patients)} patients in {folder}.")
        return paths
    with track_progress(
        "Drawing the synthetic hospital", total=sum(p.width * p.height for p in patients) / 1e6
    ) as advance:
        for number, path in enumerate(paths, start=1):
            with whole_file(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
                archive.comment = origin
                for patient, patches in draw_patches([p for p in patients if p.delivery == number]):
                    for patch in patches:
                        archive.writestr(_make_zip_member(patch.name), _encode_png(patch.pixels))
                    advance(patient.width * patient.height / 1e6)
    return paths


def draw_patches(patients: list[DrawnPatient]) -> Iterator[tuple[DrawnPatient, list[DrawnPatch]]]:
    """Draws and cuts the slides of patients, in their order, a few at a time."""
    # Threads suffice: NumPy and OpenCV let go of the interpreter while they draw. Few of them, because a
    # full-size slide takes several hundred MB while it is drawn.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        yield from zip(
            patients,
            pool.map(lambda patient: cut_drawn_slide(patient, draw_synthetic_slide(patient)), patients),
            strict=True,
        )


def cut_drawn_slide(patient: DrawnPatient, slide: DrawnSlide) -> list[DrawnPatch]:
    """Cuts a slide along the grid, row by row; cells that are background are left out.

    A patch has label 1 where at least half of its tissue was outlined as invasive. Cells that the slide's right or
    lower border cuts become edge pieces.
    """
    tissue, tumour = (_cell_sums(mask) for mask in (slide.tissue, slide.tumour & slide.tissue))
    patches = []
    for row, column in np.argwhere(tissue >= _LEAST_TISSUE * PATCH_PIXELS**2):
        label = int(tumour[row, column] >= _LEAST_TUMOUR * tissue[row, column])
        y, x = int(row) * PATCH_PIXELS, int(column) * PATCH_PIXELS
        name = PatchName(patient=patient.id, slide=_SLIDE, x=x + 1, y=y + 1, label=label)
        patches.append(DrawnPatch(name, slide.image[y : y + PATCH_PIXELS, x : x + PATCH_PIXELS]))
    return patches


def _cell_sums(mask: Mask) -> NDArray[np.int64]:
    """Counts the pixels of a mask in every cell of the grid."""
    height, width = mask.shape
    rows, columns = np.arange(0, height, PATCH_PIXELS), np.arange(0, width, PATCH_PIXELS)
    return np.add.reduceat(np.add.reduceat(mask.astype(np.int64), rows, axis=0), columns, axis=1)


def _make_zip_member(name: PatchName) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(f"{name.patient}/{name.label}/{name.format()}", _TIMESTAMP)
    member.external_attr = 0o644 << 16
    return member


def _encode_png(pixels: NDArray[np.uint8]) -> bytes:
    done, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert done
    return bytes(encoded)


def _read_zip_origin(path: Path) -> bytes | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment
    except (OSError, zipfile.BadZipFile):
        return None
