"""How slides are named in a delivery, and which files together are one slide.

A slide is `PATIENT_idxSLIDE.EXT`, or `PATIENT.EXT` where a patient has one slide, which is then slide "0". A DICOM
slide is a series of files: the folder that holds it bears the name instead, unless the file itself is called
`PATIENT_idxSLIDE.dcm`. A PNG or JPEG is a slide only by the long name; anything else is a patch, or nothing.

Example:
    >>> parse_slide_name(PurePosixPath("8867_idx5.svs"))
    ('8867', '5')
    >>> parse_slide_name(PurePosixPath("march/8867/IMG_0004.dcm"))
    ('8867', '0')
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from bcd.patches import PatientId, SlideId

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
"""A pyramid of a scanner, or a plain picture."""

SLIDE_SUFFIXES = TIFF_SUFFIXES | {".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".bif", ".dcm"}
"""What is a slide whatever its name."""

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
"""What is a slide only if it is named `PATIENT_idxSLIDE`."""

ONLY_SLIDE = SlideId("0")
"""The slide of a file that names none."""

_STEM = re.compile(r"(?P<patient>[A-Za-z0-9-]{1,64})(?:_idx(?P<slide>[0-9]{1,6}))?", re.ASCII)


def is_slide(path: PurePosixPath) -> bool:
    """Whether a file of a delivery is to be read as a slide; its name may still be wrong."""
    suffix = path.suffix.lower()
    return suffix in SLIDE_SUFFIXES or (suffix in PICTURE_SUFFIXES and _is_long(path.stem))


def parse_slide_name(path: PurePosixPath) -> tuple[PatientId, SlideId] | None:
    """Reads patient and slide off a slide's path; None where it does not follow the grammar."""
    stem = path.parent.name if path.suffix.lower() == ".dcm" and not _is_long(path.stem) else path.stem
    match = _STEM.fullmatch(stem)
    if match is None or not is_slide(path):
        return None
    return PatientId(match["patient"]), SlideId(match["slide"] or ONLY_SLIDE)


def companions(names: Sequence[str], member: int) -> list[int]:
    """Finds the other files that a slide consists of.

    These are, for `DIR/STEM.mrxs`, all that lies in `DIR/STEM/`; for a DICOM file, those of the same folder that name
    the same slide; for a `.vms`, the `.jpg` and `.opt` files of its folder that are no slides themselves.

    Args:
        names: Every file's path in the delivery.
        member: Which of them the slide is.

    Returns:
        Their places in `names`, ascending, without `member`.
    """
    path = PurePosixPath(names[member])
    match path.suffix.lower():
        case ".mrxs":
            folder = f"{names[member][: -len(path.suffix)]}/"
            return [i for i, name in enumerate(names) if name.startswith(folder)]
        case ".dcm":
            slide = parse_slide_name(path)
            near = _list_beside(names, member, (".dcm",))
            return [i for i in near if parse_slide_name(PurePosixPath(names[i])) == slide]
        case ".vms":
            near = _list_beside(names, member, (".jpg", ".opt"))
            return [i for i in near if not is_slide(PurePosixPath(names[i]))]
        case _:
            return []


def _is_long(stem: str) -> bool:
    match = _STEM.fullmatch(stem)
    return match is not None and match["slide"] is not None


def _list_beside(names: Sequence[str], member: int, endings: tuple[str, ...]) -> list[int]:
    """Finds the other files of a file's folder that end so."""
    folder = names[member].rpartition("/")[0]
    # As text: a path object for each of 277,524 names would take seconds.
    like = (i for i, name in enumerate(names) if name.lower().endswith(endings) and i != member)
    return [i for i in like if names[i].rpartition("/")[0] == folder]
