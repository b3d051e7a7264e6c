"""The list of a zip's members, as NumPy columns: 80 bytes a member with its name, where zipfile takes 590.

The layout is that of PKWARE's APPNOTE.TXT 6.3.10: sections 4.3.12 (the list), 4.3.14 to 4.3.16 (its end), and
4.5.3 (zip64: sizes beyond 32 bits).
"""

from __future__ import annotations

import mmap
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bcd.admission.rules import DeliveryError
from bcd.admission.sources.hazards import clean_names
from bcd.admission.sources.member_names import MemberNames
from bcd.admission.sources.source import MAX_MEMBERS

ENTRY = np.dtype(
    {
        "names": ["offset", "packed", "size", "crc", "method", "flags", "fault"],
        "formats": ["u8", "u8", "u8", "u4", "u2", "u2", "u1"],
    }
)
"""Of one member: place of its local header, bytes in the archive, bytes unpacked, CRC-32, method, flags, fault."""

NO_FILE, OVERLAPS, OUTSIDE = 1, 2, 3
"""Faults that the list alone shows."""

_RAW = np.dtype(
    {
        "names": ["signature", "flags", "method", "crc", "packed", "size", "name", "disk", "mode", "offset"],
        "formats": ["<u4", "<u2", "<u2", "<u4", "<u4", "<u4", "<u2", "<u2", "<u2", "<u4"],
        "offsets": [0, 8, 10, 16, 20, 24, 28, 34, 40, 42],
        "itemsize": 46,
    }
)
_LENGTHS = struct.Struct("<28xHHH")
_SIGNATURE = int.from_bytes(b"PK\1\2", "little")
_FULL = 0xFFFFFFFF  # the true value is in the zip64 field
_NO_DISK = 0xFFFF  # it stands in the zip64 record
_CHUNK = 8192  # headers that become columns in one go


class End(NamedTuple):
    """Where the list of members begins and ends, what to add to its offsets, how many members it says there are.

    And how many parts of the same zip precede this file: 0 unless it was split.
    """

    start: int
    stop: int
    shift: int
    members: int
    disk: int


def find_zip_end(data: mmap.mmap | bytes) -> End | None:
    """Finds the list of members by the record at a zip's end; None where there is none: it is no whole zip."""
    place = len(data)
    while (place := data.rfind(b"PK\5\6", max(0, len(data) - 65_557), place)) >= 0:
        if place + 22 > len(data):
            continue
        disk, count, length, start, comment = struct.unpack_from("<4xH4xHIIH", data, place)
        if place + 22 + comment > len(data):
            continue
        disk = 0 if disk == _NO_DISK else disk
        stop, disk, count, length, start = _find_zip64(data, place) or (place, disk, count, length, start)
        shift = stop - length - start
        if shift >= 0 or disk:
            return End(stop - length, stop, shift, count, disk)
    return None


def _find_zip64(data: mmap.mmap | bytes, place: int) -> tuple[int, int, int, int, int] | None:
    if place < 76 or data[place - 20 : place - 16] != b"PK\6\7":
        return None
    (stated,) = struct.unpack_from("<Q", data, place - 12)
    for record in (place - 76, stated):
        if record + 56 <= place and data[record : record + 4] == b"PK\6\6":
            disk, count, length, start = struct.unpack_from("<16xI12xQQQ", data, record)
            return record, disk, count, length, start
    return None


def list_zip_members(path: Path, data: mmap.mmap | bytes, end: End) -> tuple[MemberNames, np.ndarray]:
    """Reads the list of members, folders left out, in the order of their places in the archive.

    Args:
        path: The archive, for messages.
        data: Its bytes.
        end: Where the list lies.

    Returns:
        Names, and as many entries of `ENTRY`.

    Raises:
        DeliveryError: The list is damaged, or has more than `MAX_MEMBERS`.
    """
    # Grown in place: parts that are joined at the end would take twice the memory.
    names, listed, ends = MemberNames(), bytearray(), bytearray()
    for places in _find_headers(path, data, end):
        names_here, entries_here, stops_here = _read_chunk(path, data, end.shift, places)
        names.extend(names_here)
        listed += entries_here.tobytes()
        ends += stops_here.tobytes()
    entries = np.frombuffer(listed, ENTRY)
    _mark_places(entries, np.frombuffer(ends, np.uint64), end.start)
    if (entries["offset"][1:] >= entries["offset"][:-1]).all():
        return names, entries
    order = np.argsort(entries["offset"], kind="stable")
    return MemberNames(names[member] for member in order.tolist()), entries[order]


def _find_headers(path: Path, data: mmap.mmap | bytes, end: End) -> Iterator[list[int]]:
    """Yields the places of the headers in the list, some thousands at a time."""
    found, place = 0, end.start
    while place < end.stop:
        places: list[int] = []
        while place < end.stop and len(places) < _CHUNK:
            if end.stop - place < _RAW.itemsize:
                raise _damaged_zip(path)
            places.append(place)
            name, extra, comment = _LENGTHS.unpack_from(data, place)
            place += _RAW.itemsize + name + extra + comment
        if place > end.stop:
            raise _damaged_zip(path)
        found += len(places)
        if found > MAX_MEMBERS:
            raise DeliveryError("too-many", f"{path} has more than {MAX_MEMBERS:,} members.")
        yield places
    # Apple's archiver counts in 16 bits whatever there is.
    if place != end.stop or end.members not in {found, found & 0xFFFF}:
        raise _damaged_zip(path)


def _read_chunk(
    path: Path, data: mmap.mmap | bytes, shift: int, places: list[int]
) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
    """Reads headers into names, entries, and the ends of their data; folders are left out."""
    raw = np.frombuffer(b"".join([data[place : place + _RAW.itemsize] for place in places]), _RAW)
    if (raw["signature"] != _SIGNATURE).any():
        raise _damaged_zip(path)
    entries = np.zeros(len(raw), ENTRY)
    for field in ("offset", "packed", "size", "crc", "method", "flags"):
        entries[field] = raw[field]
    for member in np.flatnonzero((raw["offset"] == _FULL) | (raw["packed"] == _FULL) | (raw["size"] == _FULL)):
        _widen_zip64_entry(entries[member : member + 1], data, places[member])
    entries["offset"] += np.uint64(shift)
    kinds = raw["mode"] & 0o170000  # 0: not made on Unix
    entries["fault"][(kinds != 0) & (kinds != stat.S_IFREG)] = NO_FILE
    stops = entries["offset"] + entries["packed"] + raw["name"] + np.uint64(30)
    is_empty, is_folder = (entries["size"] == 0).tolist(), (kinds == stat.S_IFDIR).tolist()
    names, kept = [], []
    for position, (place, length) in enumerate(zip(places, raw["name"].tolist(), strict=True)):
        name = data[place + _RAW.itemsize : place + _RAW.itemsize + length]
        if is_empty[position] and (is_folder[position] or name.endswith((b"/", b"\\"))):
            continue
        kept.append(position)
        names.append(_decode_member_name(name))
    return clean_names(names), entries[kept], stops[kept]


def _widen_zip64_entry(entry: np.ndarray, data: mmap.mmap | bytes, place: int) -> None:
    """Puts the 64-bit values of the zip64 field in place of those that did not fit 32 bits."""
    length, extra, _ = _LENGTHS.unpack_from(data, place)
    field = place + _RAW.itemsize + length
    stop = field + extra
    while field + 4 <= stop:
        kind, size = struct.unpack_from("<HH", data, field)
        if kind == 1:
            value = field + 4
            for name in ("size", "packed", "offset"):
                if entry[name][0] == _FULL and value + 8 <= min(field + 4 + size, stop):
                    entry[name] = struct.unpack_from("<Q", data, value)[0]
                    value += 8
            return
        field += 4 + size


def _mark_places(entries: np.ndarray, stops: np.ndarray, limit: int) -> None:
    """Marks members that lie outside the archive's data, and those that share bytes with another member.

    Legitimate archivers share none; D. Fifield, "A better zip bomb" (WOOT 2019), has all members share one kernel.
    """
    starts = entries["offset"]
    # The first two keep the sum from running over.
    outside = (starts > limit) | (entries["packed"] > limit) | (stops > limit)
    if not outside.any() and (starts[1:] >= stops[:-1]).all():
        return  # one after the other, as in nearly every archive
    entries["fault"][outside] = OUTSIDE
    inside = np.flatnonzero(~outside)
    if len(inside) < 2:
        return
    inside = inside[np.argsort(starts[inside], kind="stable")]
    reached = np.maximum.accumulate(stops[inside])
    apart = starts[inside][1:] >= reached[:-1]
    group = np.concatenate([[False], apart]).cumsum()
    entries["fault"][inside[np.bincount(group)[group] > 1]] = OVERLAPS


def _decode_member_name(name: bytes) -> str:
    # Not by the flag: Apple's archiver writes UTF-8 without it. The standard's other encoding is code page 437.
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def _damaged_zip(path: Path) -> DeliveryError:
    return DeliveryError("unreadable", f"The list of members of {path} is damaged.")
