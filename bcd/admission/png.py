"""What a patch's bytes must be: a whole PNG of 50x50 px and 8-bit RGB, told by its structure before it is decoded.

Admitted as they are: 8-bit RGB. Admitted as the same RGB pixels, losslessly: a palette without transparency, and
RGB with an alpha of 255 everywhere. Refused as `colour`: grey (its colour is lost), 16-bit (its scale is unknown)
and real transparency (what lies behind it is unknown).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from bcd.admission.rules import Refusal
from bcd.admission.sources.containers import archive_kind
from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 1 << 20
"""A file of more bytes is no patch."""

MAX_SIDE = 10_000
"""A picture that declares more pixels on a side is never decoded."""

MAX_COMPRESSED_BYTES = 16 << 10
"""Compressed pixels of a patch never need more: uncompressed, with alpha, they are 10,050 bytes."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")  # bytes of a chunk's data, and its kind
_SIDES_DEPTH_COLOUR = struct.pack(">IIBB", PATCH_PIXELS, PATCH_PIXELS, 8, 2)  # in the header of most patches
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_RGB, _PALETTE, _RGBA = 2, 3, 6
_KINDS = {0: "grey", _RGB: "RGB", _PALETTE: "palette", 4: "grey with alpha", _RGBA: "RGB with alpha"}


def check_bytes(data: bytes) -> Refusal | None:
    """Refuses what is not a whole PNG of a patch, by its structure, before it is decoded."""
    if not data.startswith(_SIGNATURE):
        return _not_png(data)
    chunks = _read_chunks(data)
    if isinstance(chunks, Refusal):
        return chunks
    if data[8:16] != b"\0\0\0\rIHDR":
        return Refusal("unreadable", "The PNG does not begin with its header.")
    if not _ANIMATION.isdisjoint(chunks):  # which of its pictures is the patch?
        return Refusal("not-png", "The file is an animated PNG.")
    is_clear = b"tRNS" in chunks
    is_usual = data[16:26] == _SIDES_DEPTH_COLOUR and not is_clear
    refusal = None if is_usual else _check_header(data, is_clear=is_clear)
    if refusal is None and chunks.get(b"IDAT", 0) > MAX_COMPRESSED_BYTES:
        return Refusal("bomb", f"The PNG holds {chunks[b'IDAT']:,} bytes of compressed pixels, far too many.")
    return refusal


def decode_patch(data: bytes) -> np.ndarray | Refusal:
    """Decodes a PNG that `check_bytes` let pass.

    Returns:
        (50, 50, 3) uint8 RGB as stored, not turned by any orientation tag; a refusal where the pixels are damaged or
        partly transparent.
    """
    import cv2

    has_alpha = data[25] == _RGBA
    flags = cv2.IMREAD_UNCHANGED if has_alpha else cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        return Refusal("unreadable", "The PNG's pixels are damaged.")
    if has_alpha:
        if pixels.shape[2:] != (4,) or (pixels[:, :, 3] != 255).any():
            return Refusal("colour", "The picture is partly transparent.")
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)
    return np.ascontiguousarray(pixels)


def strip_text(data: bytes) -> bytes | None:
    """Returns a whole PNG without what does not make its pixels (text, times, cameras); None where it is none."""
    if not data.startswith(_SIGNATURE) or isinstance(_read_chunks(data), Refusal):
        return None
    kept, place = bytearray(_SIGNATURE), len(_SIGNATURE)
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        kind = data[place + 4 : place + 8]
        if kind[:1].isupper() or kind == b"tRNS":  # upper case: the pixels need it
            kept += data[place:end]
        place = end if kind != b"IEND" else len(data)
    return bytes(kept)


def _not_png(data: bytes) -> Refusal:
    if not data:
        return Refusal("empty", "The file has no bytes.")
    kind = archive_kind(data)
    if kind is not None:
        return Refusal("nested-archive", f"The file is a {kind} archive, whatever its name says.")
    return Refusal("not-png", f"The file begins with {data[:4].hex(' ')}, not as a PNG does.")


def _read_chunks(data: bytes) -> dict[bytes, int] | Refusal:
    """Returns the bytes of each kind of chunk."""
    kinds: dict[bytes, int] = {}
    place = len(_SIGNATURE)
    size = len(data)
    while place + 12 <= size:
        length, kind = _CHUNK.unpack_from(data, place)
        if not kind.isalpha():
            return Refusal("unreadable", f"The PNG is damaged at byte {place}.")
        place += 12 + length
        kinds[kind] = kinds.get(kind, 0) + length
        if kind == b"IEND" and place <= size:
            return kinds
    return Refusal("truncated", f"The PNG ends at byte {size}, before its end mark.")


def _check_header(data: bytes, *, is_clear: bool) -> Refusal | None:
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, colour = data[24], data[25]
    if max(width, height) > MAX_SIDE:
        return Refusal("absurd-size", f"The picture declares {width:,} x {height:,} px.")
    is_palette = colour == _PALETTE and depth in {1, 2, 4, 8}
    if is_clear or not (is_palette or (depth == 8 and colour in {_RGB, _RGBA})):
        transparent = " with transparency" if is_clear else ""
        kind = f"{depth}-bit {_KINDS.get(colour, 'unknown')}{transparent}"
        return Refusal("colour", f"The picture is {kind}, not 8-bit RGB.")
    if (width, height) != (PATCH_PIXELS, PATCH_PIXELS):
        return Refusal("size", f"The picture is {width}x{height} px, not {PATCH_PIXELS}x{PATCH_PIXELS}.")
    return None
