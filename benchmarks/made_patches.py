"""Deliveries of distinct patches as the public set has them, `PATIENT/LABEL/PATIENT_idx5_x1_y1_class0.png`.

The patches are real ones, turned and mirrored, where a folder of deliveries is given, and drawn ones elsewhere. Each
has its number in the lowest bits of its first row, so that no two are alike, however many are made.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bcd.admission.pixels import BLANK_DETAIL, look_at_pixels
from bcd.files import whole_file, whole_folder
from bcd.patches import PATCH_PIXELS, PatchName, PatientId, SlideId
from bcd.synthetic.hospital import draw_patches
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_synthetic_patients

PER_PATIENT = 277_524 / 279
"""Patches of a patient: the public set's."""

ACROSS = 40
"""Cells of a slide's row."""

NUMBER_BITS = 20

_BITS = 32
"""Of the number that a patch of a large delivery has."""

_FULL = 0xFFFFFFFF
"""In a zip: the true value, of 64 bits, stands elsewhere."""

_FAR = _FULL
"""Places from here on are told in 64 bits."""

# Of OpenCV's encodings the one whose size (5.6 kB) and time to decode are those of the public set's files.
ENCODING = [cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED]


class Base(NamedTuple):
    """Patches that others are made of: pixels (n, 50, 50, 3) uint8 BGR, and labels (n,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int8]


@cache
def read_base(folder: Path) -> Base:
    """Reads the patches of all zips of a folder that are whole and show something."""
    taken = []
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                patch = PatchName.parse(name.rpartition("/")[2])
                if patch is not None:
                    pixels = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR)
                    if pixels is not None:
                        taken.append((pixels, patch.label))
    return _choose(taken)


@cache
def draw_base(patches: int) -> Base:
    """Draws a few thousand patches of a synthetic hospital, or as many patients as give about so few patches."""
    hospital = HospitalOptions(large_patients=0)
    enough = max(2, patches // hospital.small_patches)
    patients = draw_synthetic_patients(hospital.model_copy(update={"patients": min(hospital.patients, enough)}))
    drawn = (patch for _, of_patient in draw_patches(patients) for patch in of_patient)
    return _choose([(cv2.cvtColor(patch.pixels, cv2.COLOR_RGB2BGR), patch.name.label) for patch in drawn])


def noise_base(patches: int = 64) -> Base:
    """Makes a few patches of noise, for what only needs any."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (patches, PATCH_PIXELS, PATCH_PIXELS, 3), np.uint8)
    return Base(pixels, np.arange(patches, dtype=np.int8) % 2)


def _choose(patches: list[tuple[np.ndarray, int | None]]) -> Base:
    """Leaves out edge pieces and what is blank or nearly so."""
    shape = (PATCH_PIXELS, PATCH_PIXELS, 3)
    whole = [(pixels, label or 0) for pixels, label in patches if pixels.shape == shape]
    pixels = np.stack([pixels for pixels, _ in whole])
    labels = np.array([label for _, label in whole], np.int8)
    shown = look_at_pixels(pixels)[0] > 2 * BLANK_DETAIL
    return Base(pixels[shown], labels[shown])


def write_zip(path: Path, base: Base, patches: int) -> None:
    """Writes a delivery as a zip whose members are stored, as the public set's parts are."""
    with whole_file(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, data in make(
            base, patches, [f"{8000 + number}" for number in range(round(patches / PER_PATIENT) or 1)]
        ):
            archive.writestr(zipfile.ZipInfo(name), data)


def write_tiny_zip(path: Path, patches: int) -> None:
    """Writes a delivery of patches that are made, and read, in little time: stripes, and a number in the last row."""
    pixels = np.empty((1, PATCH_PIXELS, PATCH_PIXELS, 3), np.uint8)
    pixels[0] = np.where(np.arange(PATCH_PIXELS) % 4 < 2, 160, 130)[:, None, None]
    write_large_zip(path, Base(pixels, np.zeros(1, np.int8)), patches)


def write_large_zip(path: Path, base: Base, patches: int) -> None:
    """Writes a delivery of any size quickly and in little memory; its patches are as many bytes as real ones.

    A patch is compressed once, but for its last row, which holds a number and is stored as it is; so nothing is
    compressed for all others that are made of it. zipfile would keep 590 bytes a patch in memory.
    """
    pictures = [_Picture(pixels) for pixels in base.pixels]
    people = [f"{80_000 + number}" for number in range(round(patches / PER_PATIENT) or 1)]
    with whole_file(path) as partial, partial.open("wb") as file:
        archive = _Archive(file)
        for patient, numbers in zip(people, np.array_split(np.arange(patches), len(people)), strict=True):
            labels = base.labels[numbers % len(pictures)] if len(pictures) > 1 else numbers % 2
            for place in np.argsort(labels, kind="stable").tolist():  # the folder of label 0 comes first
                number = int(numbers[place])
                name = _name(patient, place, int(labels[place])).encode()
                archive.add(name, *pictures[number % len(pictures)].number(number))
        archive.close()


class _Picture:
    """A patch as a PNG of which only the last row is still to be said.

    Args:
        pixels: The patch, BGR (50, 50, 3) uint8.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        rows = np.frombuffer(zlib.decompress(_pixel_data(bytes(cv2.imencode(".png", pixels, ENCODING)[1]))), np.uint8)
        lines = rows.reshape(PATCH_PIXELS, 1 + 3 * PATCH_PIXELS)  # of each row first its filter
        self._last = np.concatenate([[0], pixels[-1, :, ::-1].ravel()]).astype(np.uint8)  # not filtered
        packer = zlib.compressobj(ENCODING[1])
        packed = packer.compress(lines[:-1].tobytes()) + packer.flush(zlib.Z_FULL_FLUSH)
        size = len(self._last)
        stored = struct.pack("<BHH", 1, size, size ^ 0xFFFF)  # the last block of the stream, not compressed
        header = struct.pack(">IIBBBBB", PATCH_PIXELS, PATCH_PIXELS, 8, 2, 0, 0, 0)
        length = struct.pack(">I", len(packed) + len(stored) + size + 4)
        self._head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + length + b"IDAT" + packed + stored
        self._adler = zlib.adler32(lines[:-1].tobytes())
        self._crc = zlib.crc32(b"IDAT" + packed + stored)
        self._head_crc = zlib.crc32(self._head)

    def number(self, number: int) -> tuple[bytes, int]:
        """Returns the file with a number in the last row's lowest bits, and the file's CRC."""
        row = self._last.copy()
        row[1 : 1 + _BITS] = (row[1 : 1 + _BITS] & 0xFE) | ((number >> np.arange(_BITS)) & 1)
        data = row.tobytes()
        data += struct.pack(">I", zlib.adler32(data, self._adler))
        tail = data + struct.pack(">I", zlib.crc32(data, self._crc)) + _chunk(b"IEND", b"")
        return self._head + tail, zlib.crc32(tail, self._head_crc)


def _pixel_data(png: bytes) -> bytes:
    """Returns what the IDAT chunks of a PNG hold."""
    found, place = b"", 8
    while place < len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        found += png[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
    return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class _Archive:
    """A zip under way, whose members are stored; zip64 where it is large.

    Args:
        file: Where it is written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._place, self._members = file, 0, 0
        self._listing = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`

    def add(self, name: bytes, data: bytes, crc: int) -> None:
        """Adds a member."""
        sizes = (crc, len(data), len(data), len(name))
        far = struct.pack("<HHQ", 1, 8, self._place) if self._place >= _FAR else b""
        shared = struct.pack("<HHHHH", 45 if far else 20, 0, 0, 0, 33)
        self._listing.write(b"PK\1\2" + struct.pack("<H", 45) + shared + struct.pack("<IIIHH", *sizes, len(far)))
        self._listing.write(struct.pack("<HHHII", 0, 0, 0, 0, _FULL if far else self._place) + name + far)
        head = b"PK\3\4" + shared + struct.pack("<IIIHH", *sizes, 0) + name
        self._file.write(head + data)
        self._place += len(head) + len(data)
        self._members += 1

    def close(self) -> None:
        """Writes the listing of the members."""
        size = self._listing.tell()
        self._listing.seek(0)
        shutil.copyfileobj(self._listing, self._file)
        self._listing.close()
        end = (self._members, self._members, size, self._place)
        self._file.write(b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, *end))
        self._file.write(b"PK\6\7" + struct.pack("<IQI", 0, self._place + size, 1))
        self._file.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, _FULL, _FULL, 0))


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a delivery into a folder."""
    with whole_folder(folder) as partial, zipfile.ZipFile(archive) as file:
        file.extractall(partial)


def make(base: Base, patches: int, patients: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yields the path and the bytes of distinct patches, patient after patient.

    Args:
        base: What they are made of.
        patches: How many.
        patients: Whose they are, about as many each.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for patient, numbers in zip(patients, np.array_split(np.arange(patches), len(patients)), strict=True):
            labels = base.labels[numbers % len(base.labels)]
            order = numbers[np.argsort(labels, kind="stable")]  # the folder of label 0 comes first
            encoded = pool.map(lambda number: _encode(base, number), order.tolist(), chunksize=64)
            for number, data in zip(order.tolist(), encoded, strict=True):
                yield _name(patient, number - int(numbers[0]), int(labels[number - numbers[0]])), data


def _name(patient: str, place: int, label: int) -> str:
    row, column = divmod(place, ACROSS)
    name = PatchName(PatientId(patient), SlideId("5"), 1 + PATCH_PIXELS * column, 1 + PATCH_PIXELS * row, label)
    return f"{patient}/{label}/{name.format()}"


def _encode(base: Base, number: int) -> bytes:
    turns, place = divmod(number, len(base.pixels))
    pixels = np.rot90(base.pixels[place], turns % 4)
    pixels = (pixels[:, ::-1] if turns & 4 else pixels).copy()
    bits = (number >> np.arange(NUMBER_BITS)) & 1
    pixels[0, :NUMBER_BITS, 0] = (pixels[0, :NUMBER_BITS, 0] & 0xFE) | bits
    return bytes(cv2.imencode(".png", pixels, ENCODING)[1])
