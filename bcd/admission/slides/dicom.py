"""Which series a DICOM file belongs to, read off its header: a scanner writes a slide as one series of files.

Files of several slides may lie in one folder, where OpenSlide reads the series of the file that it is given and no
other. Nothing but the series' number and identifier is kept of a header, which may name a patient.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

HEADER_BYTES = 1 << 20
"""The series stands within so many bytes of a file; before it come the patient, the study and the equipment."""

MARK_BYTES = 132
"""By so many bytes a DICOM file shows that it is one."""

MOST_NESTED = 32
"""Sequences within sequences; no header has so many."""

_PREAMBLE = 128
_TRANSFER_SYNTAX, _SERIES, _SERIES_NUMBER = 0x0002_0010, 0x0020_000E, 0x0020_0011
_ITEM_END, _SEQUENCE_END = 0xFFFE_E00D, 0xFFFE_E0DD
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_UNDEFINED = 0xFFFF_FFFF
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})

Series = tuple[int, str]
"""SeriesNumber (0 where a file has none) and SeriesInstanceUID."""


def begins_as_dicom(head: bytes) -> bool:
    """Whether the first `MARK_BYTES` bytes of a file are those of DICOM."""
    return head[_PREAMBLE:MARK_BYTES] == b"DICM"


def group_dicom_series(paths: Sequence[Path]) -> tuple[list[list[int]], list[int]]:
    """Groups the DICOM files of a folder by their series.

    Returns:
        The places in `paths` of each series' files, in the order of SeriesNumber, then SeriesInstanceUID; and those
        of files that say no series.
    """
    groups: dict[Series, list[int]] = {}
    strays = []
    for place, path in enumerate(paths):
        series = read_dicom_series(path)
        if series is None:
            strays.append(place)
        else:
            groups.setdefault(series, []).append(place)
    return [groups[series] for series in sorted(groups)], strays


def read_dicom_series(path: Path) -> Series | None:
    """Reads the series off a DICOM file's header; None where there is none to read."""
    with path.open("rb") as file:
        data = file.read(HEADER_BYTES)
    if not begins_as_dicom(data):
        return None
    try:
        said = _read_elements(data)
        number = said.get(_SERIES_NUMBER, "")
        return (int(number) if number else 0), said[_SERIES]
    except (KeyError, ValueError, struct.error):
        return None


def _read_elements(data: bytes) -> dict[int, str]:
    meta = {tag: _as_text(value) for tag, value in _Reader(data, "<", explicit=True).read(_PREAMBLE + 4, 0x0002_FFFF)}
    syntax = meta[_TRANSFER_SYNTAX]
    if syntax == _DEFLATED:
        raise ValueError("the header is compressed")
    start = (
        _PREAMBLE + 4 + 12 + struct.unpack_from("<I", data, _PREAMBLE + 12)[0]
    )  # 0002,0000 says its group's length
    reader = _Reader(data, ">" if syntax == _BIG_ENDIAN else "<", explicit=syntax != _IMPLICIT)
    wanted = {_SERIES, _SERIES_NUMBER}
    return {tag: _as_text(value) for tag, value in reader.read(start, _SERIES_NUMBER) if tag in wanted}


def _as_text(value: bytes) -> str:
    return value.decode("ascii").strip("\0 ")


class _Reader:
    """Walks over the elements of a data set."""

    def __init__(self, data: bytes, order: str, *, explicit: bool) -> None:
        self._data, self._order, self._explicit = data, order, explicit

    def read(self, place: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Yields tag and value of the elements from a place on up to a tag, sequences without their value."""
        while place < len(self._data):
            tag, length, start = self._head(place)
            if tag > last:
                return
            place = self._skip_sequence(start, 0) if length == _UNDEFINED else start + length
            yield tag, self._data[start:place] if length != _UNDEFINED else b""

    def _head(self, place: int) -> tuple[int, int, int]:
        """Returns tag, length and place of the value of an element."""
        group, element = struct.unpack_from(f"{self._order}HH", self._data, place)
        tag = group << 16 | element
        kind = self._data[place + 4 : place + 6]
        if not self._explicit or group == 0xFFFE:
            return tag, self._unpack("I", place + 4), place + 8
        if kind in _LONG:
            return tag, self._unpack("I", place + 8), place + 12
        return tag, self._unpack("H", place + 6), place + 8

    def _skip_sequence(self, place: int, depth: int) -> int:
        """Returns where a sequence of undefined length, or an item of one, ends."""
        if depth > MOST_NESTED:
            raise ValueError("too many sequences within each other")
        while True:
            tag, length, start = self._head(place)
            if tag in {_SEQUENCE_END, _ITEM_END}:
                return start
            place = self._skip_sequence(start, depth + 1) if length == _UNDEFINED else start + length

    def _unpack(self, kind: str, place: int) -> int:
        return int(struct.unpack_from(f"{self._order}{kind}", self._data, place)[0])
