"""What a case of the corpus is, and the whole patches that lie beside what is malformed."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

ADMITTED, IGNORED = "admitted", "ignored"
"""What becomes of a file that no rule refuses."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6

_seeds = count()


@dataclass(frozen=True)
class BadFile:
    """A file of a delivery and what becomes of it.

    Attributes:
        what: What is the matter with it.
        path: Where it lies in the delivery.
        data: Its bytes.
        fate: Code of the rule that refuses it, or ADMITTED, or IGNORED.
        pixels: Of an admitted patch, what is to be stored.
    """

    what: str
    path: str
    data: bytes
    fate: str
    pixels: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class BadDelivery:
    """An archive and what becomes of it.

    Attributes:
        what: What is the matter with it.
        name: The archive's file name.
        data: Its bytes.
        fates: Name, as it is listed, and fate of every file in it, where it is opened at all.
        error: Part of the error where it is not.
    """

    what: str
    name: str
    data: bytes
    fates: tuple[tuple[str, str], ...] = ()
    error: str = ""


def noise(*shape: int) -> NDArray[np.uint8]:
    """Returns noise, other pixels at each call, the same in each run of the script."""
    return np.random.default_rng(next(_seeds)).integers(0, 256, shape or (50, 50, 3), dtype=np.uint8)


def chunk(kind: bytes, data: bytes = b"", crc: int | None = None) -> bytes:
    """Returns a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc or zlib.crc32(kind + data))


def header(width: int = 50, height: int = 50, depth: int = 8, colour: int = RGB, *methods: int) -> bytes:
    """Returns a PNG's header; methods are compression, filter and interlace."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *(methods or (0, 0, 0))))


def rows(pixels: np.ndarray) -> bytes:
    """Returns the rows of a picture, each after the number of its filter, not compressed."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def packed(pixels: np.ndarray) -> bytes:
    """Returns the chunk of a picture's pixels."""
    return chunk(b"IDAT", zlib.compress(rows(pixels)))


END = chunk(b"IEND")


def png(*chunks: bytes) -> bytes:
    """Joins chunks to a PNG, with its end mark."""
    return SIGNATURE + b"".join(chunks) + END


def patch(pixels: np.ndarray | None = None) -> bytes:
    """Returns a whole patch."""
    return png(header(), packed(noise() if pixels is None else pixels))


def name_of(patient: str, place: int = 0, label: int = 0) -> str:
    """Returns the path of a patch as in the public set."""
    return f"{patient}/{label}/{patient}_idx1_x{1 + 50 * place}_y51_class{label}.png"
