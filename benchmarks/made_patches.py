"""Deliveries of distinct patches as the public set has them, `PATIENT/LABEL/PATIENT_idx5_x1_y1_class0.png`.

The patches are real ones, turned and mirrored, where a folder of deliveries is given, and drawn ones elsewhere. Each
has its number in the lowest bits of its first row, so that no two are alike, however many are made.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bcd.admission.pixels import BLANK_DETAIL, look_at_pixels
from bcd.files import whole_file, whole_folder
from bcd.patches import PATCH_PIXELS, PatchName, PatientId, SlideId
from bcd.synthetic.hospital import draw_patches
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_patients

PER_PATIENT = 277_524 / 279
"""Patches of a patient: the public set's."""

ACROSS = 40
"""Cells of a slide's row."""

NUMBER_BITS = 20

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
    patients = draw_patients(hospital.model_copy(update={"patients": min(hospital.patients, enough)}))
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
    """Writes a delivery of patches that are made, and read, in little time: stripes, and a number in the first row.

    Written as zips are, but not by zipfile, which would keep 590 bytes a patch in memory.
    """
    stripes = np.zeros((PATCH_PIXELS, 1 + 3 * PATCH_PIXELS), np.uint8)  # of each row first its filter: none
    stripes[:, 1:].reshape(PATCH_PIXELS, PATCH_PIXELS, 3)[:] = np.where(np.arange(PATCH_PIXELS) % 4 < 2, 160, 130)[
        :, None
    ]
    people = [f"{8000 + number}" for number in range(round(patches / PER_PATIENT) or 1)]
    listed = bytearray()
    with whole_file(path) as partial, partial.open("wb") as file:
        for patient, numbers in zip(people, np.array_split(np.arange(patches), len(people)), strict=True):
            for place, number in enumerate(numbers.tolist()):
                stripes[0, 1:9] = np.frombuffer(number.to_bytes(8), np.uint8)
                name, data = _name(patient, place, number % 2).encode(), _make_png(stripes)
                shared = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, zlib.crc32(data), *[len(data)] * 2, len(name), 0)
                listed += (
                    struct.pack("<4sH", b"PK\1\2", 20)
                    + shared
                    + struct.pack("<HHHII", 0, 0, 0, 0, file.tell())
                    + name
                )
                file.write(struct.pack("<4s", b"PK\3\4") + shared + name + data)
        start = file.tell()
        file.write(listed)
        # More members than 16 bits count are counted in 16 bits, as Apple's archiver does.
        file.write(
            struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, patches & 0xFFFF, patches & 0xFFFF, len(listed), start, 0)
        )


def _make_png(rows: NDArray[np.uint8]) -> bytes:
    header = struct.pack(">IIBBBBB", PATCH_PIXELS, PATCH_PIXELS, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


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
