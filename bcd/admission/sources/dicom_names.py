"""DICOM files that are not named as such: a hospital's archive (PACS) exports them as `IM000001`, or as a number.

What a file says of itself beats its name: one that begins as DICOM does is called `….dcm` from here on, in refusals
and reports too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from bcd.admission.slides.dicom import MARK_BYTES, begins_as_dicom
from bcd.admission.slides.names import PICTURE_SUFFIXES, is_slide
from bcd.admission.sources.member_names import MemberNames
from bcd.admission.sources.source import Source, UnreadableFileError, is_litter

_ENDING = ".dcm"
_USUAL, _PICTURES = ".png", tuple(PICTURE_SUFFIXES)


class DicomNamedSource:
    """A source of which all DICOM files end in `.dcm`; all else is as in the source behind it.

    Args:
        source: The delivery.
    """

    def __init__(self, source: Source) -> None:
        found = {
            member: name + _ENDING for member, name in enumerate(source.names) if _is_dicom(source, member, name)
        }
        taken = set(found.values()).intersection(source.names) if found else set()
        renamed = {member: name for member, name in found.items() if name not in taken}
        self.names: Sequence[str] = source.names
        if renamed:
            self.names = MemberNames(renamed.get(member, name) for member, name in enumerate(source.names))
        self.size, self.hazard = source.size, source.hazard
        self.read, self.copy = source.read, source.copy


def _is_dicom(source: Source, member: int, name: str) -> bool:
    """Whether a file that is named as nothing else begins as DICOM does."""
    # As text first: a path object for each of 277,524 patches would take seconds.
    if name.endswith(_USUAL) or name.lower().endswith(_PICTURES) or is_slide(PurePosixPath(name)) or is_litter(name):
        return False
    if source.hazard(member) is not None or source.size(member) < MARK_BYTES:
        return False
    try:
        return begins_as_dicom(source.read(member, MARK_BYTES))
    except UnreadableFileError:  # which admission will say
        return False
