"""Files that are named as patches and hold something else, or something damaged."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from cases import (
    ADMITTED,
    END,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    BadFile,
    chunk,
    header,
    name_of,
    noise,
    packed,
    patch,
    png,
    rows,
)
from PIL import Image

Row = tuple[str, bytes, str] | tuple[str, bytes, str, np.ndarray]

TEXT = chunk(b"tEXt", b"Comment\0a word")
COLOURS = noise(256, 3)
PLTE = chunk(b"PLTE", COLOURS.tobytes())
ZEROS = bytes(30_000_000)
"""What a bomb unpacks to."""


def bad_pictures() -> list[BadFile]:
    """Returns every case, each under the name of a patch of its own patient."""
    cases = [row for part in (_structure, _crcs, _sizes, _colours, _extras, _others, _blanks) for row in part()]
    return [BadFile(row[0], name_of(f"P{number:03}"), *row[1:]) for number, row in enumerate(cases)]


def _structure() -> Iterator[Row]:
    whole = patch()
    for place in range(8):
        yield f"byte {place} of the signature is wrong", _flip(whole, place), "not-png"
    yield "line ends were converted to Unix", whole.replace(b"\r\n", b"\n"), "not-png"
    yield "line ends were converted to Windows", whole.replace(b"\n", b"\r\n"), "not-png"
    yield "sent as text: bytes above 127 are lost", bytes(byte & 127 for byte in whole), "not-png"
    yield "no bytes", b"", "empty"
    yield "one byte", b"\x89", "not-png"
    yield "one byte of zero", b"\0", "not-png"
    yield "a newline", b"\n", "not-png"
    for length in (8, 9, 16, 25, 33, 40, len(whole) // 2, len(whole) - 13, len(whole) - 12, len(whole) - 1):
        yield f"ends after {length:,} bytes", whole[:length], "truncated"
    yield "the end is zeros", whole[:3000] + bytes(len(whole) - 3000), "unreadable"
    yield "the middle is zeros", whole[:2000] + bytes(2000) + whole[4000:], "unreadable"
    head, pixels, image = header(), noise(), packed(noise())
    data = zlib.compress(rows(pixels))
    yield "no header", png(image), "unreadable"
    yield "the header comes second", png(TEXT, head, image), "unreadable"
    yield "two headers", png(head, header(10, 10), image), "unreadable"
    yield "a header of 0 bytes", png(chunk(b"IHDR"), image), "unreadable"
    yield "a header of 12 bytes", png(chunk(b"IHDR", head[8:20]), image), "unreadable"
    yield "a header of 14 bytes", png(chunk(b"IHDR", head[8:22]), image), "unreadable"
    yield "no pixels", png(head), "unreadable"
    yield "pixels of 0 bytes", png(head, chunk(b"IDAT")), "unreadable"
    yield "pixels after the end mark", png(head) + image + END, "unreadable"
    yield (
        "a text parts the pixels",
        png(head, chunk(b"IDAT", data[:99]), TEXT, chunk(b"IDAT", data[99:])),
        "unreadable",
    )
    yield "pixels in two chunks", png(head, chunk(b"IDAT", data[:99]), chunk(b"IDAT", data[99:])), ADMITTED, pixels
    yield (
        "the chunks of the pixels are swapped",
        png(head, chunk(b"IDAT", data[99:]), chunk(b"IDAT", data[:99])),
        "unreadable",
    )
    yield "pixels twice", png(head, packed(pixels := noise()), TEXT, image), ADMITTED, pixels
    yield "a chunk declares 2 GiB", png(head, struct.pack(">I", 2**31 - 1) + image[4:]), "truncated"
    yield "a chunk declares 4 GiB", png(head, struct.pack(">I", 2**32 - 1) + image[4:]), "truncated"
    yield "a chunk declares a byte less", png(head, struct.pack(">I", len(image) - 13) + image[4:]), "unreadable"
    yield "a chunk declares nothing", png(head, bytes(4) + image[4:]), "unreadable"
    yield "a chunk's name is no letters", png(head, chunk(b"1DAT", data)), "unreadable"
    yield "an unknown chunk that matters", png(head, chunk(b"ABCD", b"x"), image), "unreadable"
    yield "bytes between chunks", png(head, b"\0\0\0", image), "unreadable"
    for what, spoilt in _spoilt(noise()):
        fate = ADMITTED if what == "a row too many" else "unreadable"
        yield f"compressed pixels: {what}", png(head, chunk(b"IDAT", spoilt)), fate
    yield "compressed pixels unpack to 30 MB", png(head, chunk(b"IDAT", zlib.compress(rows(noise()) + ZEROS))), "bomb"
    yield "bytes after the end mark", patch(pixels := noise()) + b"tail", ADMITTED, pixels
    yield "a second PNG after the first", patch(pixels := noise()) + patch(), ADMITTED, pixels
    yield (
        "the end mark holds bytes",
        (SIGNATURE + head + packed(pixels := noise()) + chunk(b"IEND", b"x")),
        ADMITTED,
        pixels,
    )


def _spoilt(pixels: np.ndarray) -> Iterator[tuple[str, bytes]]:
    raw = rows(pixels)
    data = zlib.compress(raw)
    yield "half of the rows", zlib.compress(raw[: len(raw) // 2])
    yield "a row too few", zlib.compress(raw[:-151])
    yield "a byte too few", zlib.compress(raw[:-1])
    yield "none", zlib.compress(b"")
    yield "a row too many", zlib.compress(raw + bytes(151))
    yield "cut", data[:-100]
    yield "without checksum", data[:-4]
    yield "wrong checksum", _flip(data, -1)
    yield "a bit flipped", _flip(data, 1000)
    yield "a bit flipped where nothing is compressed", _flip(zlib.compress(raw, 0), 1000)
    yield "no zlib", b"\0" + data
    yield "a dictionary is missing", b"\x78\xbb\0\0\0\1" + data[2:]
    yield "a window of 64 KiB", b"\x88\x1c" + data[2:]
    yield "gzip instead of zlib", gzip.compress(raw)
    yield "raw deflate", data[2:-4]
    yield "random bytes", noise(5000).tobytes()
    yield "filter 9", zlib.compress(b"\x09" + raw[1:])


def _crcs() -> Iterator[Row]:
    head, pixels = header(), noise()
    yield "checksum of the header", png(_flip(head, -1), packed(noise())), "unreadable"
    yield "checksum of the pixels", png(head, _flip(packed(noise()), -1)), "unreadable"
    yield "checksum of the palette", _palette(_flip(PLTE, -1))[0], "unreadable"
    yield "checksum of the end mark", _flip(patch(pixels), -1), ADMITTED, pixels
    yield "checksum of a text", png(head, _flip(TEXT, -1), packed(pixels := noise())), ADMITTED, pixels
    for method, what in enumerate(("compression", "filter", "interlace")):
        methods = [0, 0, 0]
        methods[method] = 7
        yield f"unknown {what}", png(header(50, 50, 8, RGB, *methods), packed(noise())), "unreadable"


def _sizes() -> Iterator[Row]:
    for width, height in ((50, 49), (49, 50), (1, 1), (50, 1), (1, 50), (50, 42), (100, 50), (51, 51), (500, 500)):
        yield f"{width}x{height} px", png(header(width, height), packed(noise(height, width, 3))), "size"
    for width, height in ((0, 0), (0, 50), (50, 0), (10_000, 10_000)):
        yield f"declares {width:,}x{height:,} px", png(header(width, height), packed(noise())), "size"
    for width, height in ((10_001, 50), (50, 10_001), (2**31 - 1, 2**31 - 1), (2**32 - 1, 50), (50, 2**31)):
        yield f"declares {width:,}x{height:,} px", png(header(width, height), packed(noise())), "absurd-size"
    yield "a PNG that declares 51 px and has 50", png(header(51, 50), packed(noise())), "size"
    yield "a PNG that declares 50 px and has 49", png(header(), packed(noise(50, 49, 3))), "unreadable"
    room = (1 << 20) - len(patch(pixels := noise())) - 12
    yield "1 MiB to the byte", png(header(), chunk(b"prVt", bytes(room)), packed(pixels)), ADMITTED, pixels
    yield "a byte more than 1 MiB", png(header(), chunk(b"prVt", bytes(room + 1)), packed(pixels)), "too-large"


def _colours() -> Iterator[Row]:
    index, colour = noise(50, 50), noise()
    opaque = np.full((50, 50, 1), 255, np.uint8)
    pierced = opaque.copy()
    pierced[49, 49] = 254
    yield "grey", png(header(colour=GREY), packed(index)), "colour"
    yield "grey of 1 bit", png(header(depth=1, colour=GREY), packed(noise(50, 7))), "colour"
    yield "grey of 16 bits", png(header(depth=16, colour=GREY), packed(noise(50, 100))), "colour"
    yield "grey with alpha", png(header(colour=GREY_ALPHA), packed(noise(50, 50, 2))), "colour"
    yield "RGB of 16 bits", png(header(depth=16), packed(noise(50, 300))), "colour"
    yield "RGBA of 16 bits", png(header(depth=16, colour=RGBA), packed(noise(50, 400))), "colour"
    yield "RGB with a clear colour", png(header(), chunk(b"tRNS", bytes(6)), packed(noise())), "colour"
    yield "transparent", png(header(colour=RGBA), packed(noise(50, 50, 4))), "colour"
    yield "one pixel a little transparent", png(header(colour=RGBA), packed(np.dstack([noise(), pierced]))), "colour"
    yield "RGBA, opaque", png(header(colour=RGBA), packed(np.dstack([colour, opaque]))), ADMITTED, colour
    yield "RGBA, damaged", png(header(colour=RGBA), chunk(b"IDAT", zlib.compress(bytes(999)))), "unreadable"
    yield "a palette with clear colours", _palette(PLTE, chunk(b"tRNS", b"\0"))[0], "colour"
    data, pixels = _palette(PLTE)
    yield "a palette", data, ADMITTED, pixels
    yield "a palette is missing", _palette()[0], "unreadable"
    yield "an empty palette", _palette(chunk(b"PLTE"))[0], "unreadable"
    yield "a palette of 255 2/3 colours", _palette(chunk(b"PLTE", COLOURS.tobytes()[:767]))[0], "unreadable"
    yield "a palette of 257 colours", _palette(chunk(b"PLTE", bytes(771)))[0], "unreadable"
    yield "a palette after the pixels", png(header(colour=PALETTE), packed(noise(50, 50)), PLTE), "unreadable"
    for depth, kind in ((3, RGB), (4, RGB), (0, RGB), (255, RGB), (16, PALETTE), (8, 1), (8, 5), (8, 7), (8, 255)):
        yield f"depth {depth}, colour type {kind}", png(header(depth=depth, colour=kind), packed(noise())), "colour"


def _extras() -> Iterator[Row]:
    profile = b"a profile\0\0" + zlib.compress(noise(3000).tobytes())
    for what, extra in {
        "gamma": chunk(b"gAMA", struct.pack(">I", 100_000)),
        "half a gamma": chunk(b"gAMA", b"x"),
        "sRGB": chunk(b"sRGB", b"\0"),
        "a colour profile that is none": chunk(b"iCCP", profile),
        "significant bits": chunk(b"sBIT", b"\4\4\4"),
        "a resolution": chunk(b"pHYs", struct.pack(">IIB", 11_811, 11_811, 1)),
        "an orientation": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
        "a text of 30 MB": chunk(b"zTXt", b"a\0\0" + zlib.compress(ZEROS)),
        "an international text of 30 MB": chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(ZEROS)),
        "a profile of 30 MB": chunk(b"iCCP", b"a\0\0" + zlib.compress(ZEROS)),
        "10,000 texts": TEXT * 10_000,
    }.items():
        yield f"with {what}", png(header(), extra, packed(pixels := noise())), ADMITTED, pixels
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    pixels = noise()
    parts = [rows(pixels[y::down, x::across]) for y, down, x, across in passes]
    yield (
        "interlaced",
        png(header(50, 50, 8, RGB, 0, 0, 1), chunk(b"IDAT", zlib.compress(b"".join(parts)))),
        ADMITTED,
        pixels,
    )
    frame = struct.pack(">IIIIIHHBB", 0, 50, 50, 0, 0, 1, 1, 0, 0)
    for what, frames, control in (("", 1, chunk(b"fcTL", frame)), (" without frames", 2**31 - 1, b"")):
        moving = chunk(b"acTL", struct.pack(">II", frames, 0))
        yield f"animated{what}", png(header(), moving, control, packed(noise())), "not-png"
    yield "a frame without animation", png(header(), packed(noise()), chunk(b"fdAT", bytes(9))), "not-png"


def _others() -> Iterator[Row]:
    picture = Image.fromarray(noise())
    for kind in ("JPEG", "GIF", "BMP", "TIFF", "WEBP", "ICO", "PPM", "JPEG2000", "TGA"):
        file = io.BytesIO()
        picture.save(file, kind)
        yield f"{kind}, named .png", file.getvalue(), "not-png"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as inner:
        inner.writestr("inner.png", patch())
    yield "a zip, named .png", archive.getvalue(), "nested-archive"
    yield "an empty zip, named .png", b"PK\5\6" + bytes(18), "nested-archive"
    for kind, data in {
        "gzip": gzip.compress(patch()),
        "7z": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(24),
        "RAR": b"Rar!\x1a\7\1\0" + bytes(20),
        "bzip2": b"BZh91AY&SY" + bytes(20),
        "xz": b"\xfd7zXZ\0\0\4" + bytes(20),
    }.items():
        yield f"{kind}, named .png", data, "nested-archive"
    for what, data in {
        "PDF": b"%PDF-1.7\n",
        "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "a web page": b"<!DOCTYPE html><title>404</title>",
        "a program": b"\x7fELF\2\1\1" + bytes(57),
        "DICOM": bytes(128) + b"DICM",
        "HDF5": b"\x89HDF\r\n\x1a\n",
        "MNG": b"\x8aMNG\r\n\x1a\n" + patch()[8:],
        "JNG": b"\x8bJNG\r\n\x1a\n" + patch()[8:],
        "text": b"See attachment.",
        "text of UTF-16": "See attachment.".encode("utf-16"),
        "base64": b"iVBORw0KGgoAAAANSUhEUgAAADIAAAAy",
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 6000\n",
        "a mark of byte order before the PNG": b"\xef\xbb\xbf" + patch(),
        "zeros": bytes(6000),
        "noise": b"\0" + noise(6000).tobytes(),
    }.items():
        yield f"{what}, named .png", data, "not-png"
    apple = chunk(b"CgBI", b"\x50\0\x20\2")
    yield "Apple's own kind of PNG", png(apple, header(), packed(noise())), "unreadable"


def _blanks() -> Iterator[Row]:
    for what, value in (("white", 255), ("black", 0), ("grey", 128)):
        yield what, patch(np.full((50, 50, 3), value, np.uint8)), "blank"
    yield "white with grain", patch(noise() % 3 + 250), "blank"
    yield (
        "white by a palette",
        png(header(colour=PALETTE), chunk(b"PLTE", b"\xff" * 9), packed(np.zeros((50, 50), np.uint8))),
        "blank",
    )


def _palette(*extra: bytes) -> tuple[bytes, np.ndarray]:
    index = noise(50, 50)
    return png(header(colour=PALETTE), *extra, packed(index)), COLOURS[index]


def _flip(data: bytes, place: int) -> bytes:
    spoilt = bytearray(data)
    spoilt[place] ^= 1
    return bytes(spoilt)
