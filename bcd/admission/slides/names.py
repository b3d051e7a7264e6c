"""How slides are named in a delivery, and which files together are one slide.

A slide is `PATIENT_idxSLIDE.EXT`, or `PATIENT.EXT` where a patient has one slide, which is then slide "0". A DICOM
slide is a series of files: the folder that holds it bears the name instead, unless the file itself is called
`PATIENT_idxSLIDE.dcm`. A PNG or JPEG is a slide only by the long name; anything else is a patch, or nothing. Case
does not matter in endings and in `_idx`.

Examples:
    >>> parse_slide_name(PurePosixPath("8867_idx5.svs"))
    ('8867', '5')
    >>> parse_slide_name(PurePosixPath("march/8867/IMG_0004.dcm"))
    ('8867', '0')
    >>> explain_misfit(PurePosixPath("Erika Mustermann.svs"))
    'a blank does not fit into the patient "Erika Mustermann", who is letters, digits and -'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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

_OF_AN_EXPORT = re.compile(
    r"(se|ser|series|st|std|stu|study|im|img|images?|dicom|dcm)[0-9]*", re.ASCII | re.IGNORECASE
)
"""Folders that a DICOM export counts within a patient: taken for the patient, one would become several."""

SlideName = tuple[PatientId, SlideId]

_STEM = re.compile(r"(?P<patient>[A-Za-z0-9-]{1,64})(?:_idx(?P<slide>[0-9]{1,6}))?", re.ASCII | re.IGNORECASE)
_PARTS = re.compile(r"(?P<patient>.*?)(?:_idx(?P<slide>.*))?", re.DOTALL | re.IGNORECASE)


def is_slide(path: PurePosixPath) -> bool:
    """Whether a file of a delivery is to be read as a slide; its name may still be wrong."""
    suffix = path.suffix.lower()
    return suffix in SLIDE_SUFFIXES or (suffix in PICTURE_SUFFIXES and _is_long(path.stem))


def is_dicom(path: PurePosixPath) -> bool:
    """Whether a file is named as one of DICOM."""
    return path.suffix.lower() == ".dcm"


def parse_slide_name(path: PurePosixPath) -> SlideName | None:
    """Reads patient and slide off a slide's path; None where it does not follow the grammar."""
    return parse_stem(_find_name_bearer(path)) if is_slide(path) and not _is_of_an_export(path) else None


def parse_stem(stem: str) -> SlideName | None:
    """Reads `PATIENT_idxSLIDE`, or `PATIENT`; None where it does not follow the grammar."""
    match = _STEM.fullmatch(stem)
    return None if match is None else (PatientId(match["patient"]), SlideId(match["slide"] or ONLY_SLIDE))


def name_by_file(path: PurePosixPath) -> SlideName | None:
    """Makes a patient of whatever a slide is called, for one that is not to be kept: `a_b c.svs` is patient a-b-c.

    None where the name holds no letter and no digit that an identifier may have.
    """
    patient = "-".join(re.findall("[A-Za-z0-9]+", _find_name_bearer(path)))[:64]
    return (PatientId(patient), ONLY_SLIDE) if patient else None


def names_its_slide(path: PurePosixPath) -> bool:
    """Whether a slide's name says which of the patient's slides it is."""
    return _is_long(_find_name_bearer(path))


def explain_misfit(path: PurePosixPath) -> str:
    """Says what of a slide's name does not follow the grammar."""
    bearer = _find_name_bearer(path)
    if is_dicom(path) and not bearer:
        return "a DICOM slide goes by the folder that holds its files, and there is none"
    if _is_of_an_export(path):
        return f'the folder "{bearer}" is one that a DICOM export counts (a study or series), and names no patient'
    parts = _PARTS.fullmatch(bearer)
    assert parts is not None
    patient, slide = parts["patient"], parts["slide"]
    return explain_slide_patient(patient) or f'the slide "{slide}" is no number of one to six digits'


def explain_slide_patient(patient: str) -> str:
    """Says what of a patient's identifier does not follow the grammar; nothing where it does."""
    odd = next((character for character in patient if not re.fullmatch("[A-Za-z0-9-]", character)), None)
    if odd is not None:
        shown = "a blank" if odd.isspace() else f'"{odd}"'
        return f'{shown} does not fit into the patient "{patient}", who is letters, digits and -'
    if not 1 <= len(patient) <= 64:
        return f"the patient has {len(patient)} characters, and 1 to 64 fit"
    return ""


def find_companion_files(
    names: Sequence[str], member: int, name_of: Callable[[int], SlideName | None] | None = None
) -> list[int]:
    """Finds the other files that a slide consists of.

    These are, for `DIR/STEM.mrxs`, all that lies in `DIR/STEM/`; for a DICOM file, those of the same folder that name
    the same slide; for a `.vms`, the `.jpg` and `.opt` files of its folder that are no slides themselves.

    Args:
        names: Every file's path in the delivery.
        member: Which of them the slide is.
        name_of: Which slide a file is; None: the one that its path names.

    Returns:
        Their places in `names`, ascending, without `member`.
    """
    path = PurePosixPath(names[member])
    match path.suffix.lower():
        case ".mrxs":
            folder = f"{names[member][: -len(path.suffix)]}/"
            return [i for i, name in enumerate(names) if name.startswith(folder)]
        case ".dcm":
            name_of = name_of or (lambda i: parse_slide_name(PurePosixPath(names[i])))
            slide = name_of(member)
            return [i for i in _list_beside(names, member, (".dcm",)) if name_of(i) == slide]
        case ".vms":
            near = _list_beside(names, member, (".jpg", ".opt"))
            return [i for i in near if not is_slide(PurePosixPath(names[i]))]
        case _:
            return []


def _find_name_bearer(path: PurePosixPath) -> str:
    """Returns the part of a path that names the slide."""
    if is_dicom(path) and not _is_long(path.stem):
        return path.parent.name
    is_ome = path.suffix.lower() in TIFF_SUFFIXES and path.stem.lower().endswith(".ome")
    return path.stem[: -len(".ome")] if is_ome else path.stem


def _is_of_an_export(path: PurePosixPath) -> bool:
    """Whether a DICOM file lies in a folder that names no patient."""
    return is_dicom(path) and _OF_AN_EXPORT.fullmatch(_find_name_bearer(path)) is not None


def _is_long(stem: str) -> bool:
    match = _STEM.fullmatch(stem)
    return match is not None and match["slide"] is not None


def _list_beside(names: Sequence[str], member: int, endings: tuple[str, ...]) -> list[int]:
    """Finds the other files of a file's folder that end so."""
    folder = names[member].rpartition("/")[0]
    # As text: a path object for each of 277,524 names would take seconds.
    like = (i for i, name in enumerate(names) if name.lower().endswith(endings) and i != member)
    return [i for i in like if names[i].rpartition("/")[0] == folder]
