"""A zip written by hand, so that each of its fields can be wrong (PKWARE's APPNOTE.TXT 4.3)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

FULL = 0xFFFFFFFF


@dataclass(frozen=True)
class Member:
    """A member; what is None is as it should be.

    Attributes:
        name: Its path.
        data: Its bytes, unpacked.
        method: How it says that it is compressed; 8 is done.
        flags: General purpose bits; 1 = encrypted, 8 = sizes follow the data.
        mode: Type and permissions, of Unix.
        raw: Its bytes in the archive.
        crc: Checksum.
        size: Bytes unpacked.
        packed: Bytes in the archive.
        offset: Place of its local header.
        extra: Extra field in the list.
        local: Its path in its local header.
        local_length: Length of that path, said there.
        signature: What its local header begins with.
        listing: What its header in the list begins with.
        extra_length: Length of the extra field, said in the list.
        listed_only: Whether the list alone has it.
    """

    name: str
    data: bytes
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    raw: bytes | None = None
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    offset: int | None = None
    extra: bytes = b""
    local: str | None = None
    local_length: int | None = None
    signature: bytes = b"PK\3\4"
    listing: bytes = b"PK\1\2"
    extra_length: int | None = None
    listed_only: bool = False


def zip_of(
    *members: Member,
    before: bytes = b"",
    comment: bytes = b"",
    members_said: int | None = None,
    length_said: int | None = None,
    start_said: int | None = None,
    disk: int = 0,
) -> bytes:
    """Writes a zip; `before` stands before it, and the rest is what its end record says."""
    data, listing = bytearray(before), bytearray()
    for one in members:
        name = one.name.encode("utf-8", "surrogateescape")
        raw = one.raw if one.raw is not None else deflated(one.data) if one.method == 8 else one.data
        said = (
            zlib.crc32(one.data) if one.crc is None else one.crc,
            len(raw) if one.packed is None else one.packed,
            len(one.data) if one.size is None else one.size,
        )
        fixed = struct.pack("<HHHHH", 20, one.flags, one.method, 0, 33)
        offset = len(data) - len(before) if one.offset is None else one.offset
        local = name if one.local is None else one.local.encode()
        length = len(local) if one.local_length is None else one.local_length
        sizes = (0, 0, 0) if one.flags & 8 else said
        if not one.listed_only:
            data += one.signature + fixed + struct.pack("<IIIHH", *sizes, length, 0) + local + raw
        extra = len(one.extra) if one.extra_length is None else one.extra_length
        listing += one.listing + struct.pack("<H", 3 << 8 | 20) + fixed
        listing += struct.pack("<IIIHHHHHII", *said, len(name), extra, 0, 0, 0, one.mode << 16, offset)
        listing += name + one.extra
    count = len(members) if members_said is None else members_said
    length = len(listing) if length_said is None else length_said
    start = len(data) - len(before) if start_said is None else start_said
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", disk, disk, count, count, length, start, len(comment))
    return bytes(data + listing + end + comment)


def deflated(data: bytes) -> bytes:
    """Compresses without a frame, as zips do."""
    return zlib.compress(data, 9)[2:-4]


def zip64(*values: int) -> bytes:
    """Returns the extra field of 64-bit values: size, packed size and offset, those that the header leaves out."""
    return struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values)
