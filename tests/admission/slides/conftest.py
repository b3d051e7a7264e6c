from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from bcd.admission.slides.tiling import Tiles, tile_slide

GLASS = (244, 243, 244)
PINK = (220, 150, 190)
PURPLE = (120, 70, 150)


@pytest.fixture(scope="session")
def colours() -> tuple[tuple[int, int, int], ...]:
    """Glass, eosin and haematoxylin."""
    return GLASS, PINK, PURPLE


@pytest.fixture(scope="session")
def glass() -> Callable[[int, int], np.ndarray]:
    """Makes an empty slide of some width and height."""

    def make(width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), GLASS, np.uint8)

    return make


@pytest.fixture
def as_slide(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiled TIFF that says its spacing, with further levels if they are given."""

    def write(
        *levels: np.ndarray, spacing: float | tuple[float, float] | None = 1.0, name: str = "1_idx1.tif"
    ) -> Path:
        across, down = spacing if isinstance(spacing, tuple) else (spacing, spacing)
        said: dict[str, Any] = (
            {} if across is None else {"resolution": (1e4 / across, 1e4 / down), "resolutionunit": "CENTIMETER"}
        )
        path = tmp_path / name
        with tifffile.TiffWriter(path) as file:
            for number, level in enumerate(levels):
                file.write(
                    level, tile=(64, 64), photometric="rgb", metadata=None, subfiletype=int(number > 0), **said
                )
        return path

    return write


@pytest.fixture
def as_aperio(tmp_path: Path) -> Callable[..., Path]:
    """Writes an Aperio slide as its scanner does: with a thumbnail, a label, a macro, and a talkative description."""

    def write(pixels: np.ndarray, label: np.ndarray, note: str) -> Path:
        path = tmp_path / "1_idx1.svs"
        about = f"Aperio Image Library v11.2.1 \r\n{note}|AppMag = 10|MPP = 1.0000"
        with tifffile.TiffWriter(path) as file:
            file.write(pixels, tile=(64, 64), photometric="rgb", metadata=None, description=about)
            file.write(label, photometric="rgb", rowsperstrip=8, metadata=None, description=about)
            for kind, number in (("label", 1), ("macro", 9)):
                text = f"Aperio Image Library v11.2.1 \r\n{kind} {label.shape[1]}x{label.shape[0]}"
                file.write(
                    label, photometric="rgb", rowsperstrip=8, metadata=None, description=text, subfiletype=number
                )
        return path

    return write


@pytest.fixture
def as_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Writes a DICOM series (of a UID and a number), a file a level, into a folder; returns the last file."""

    def write(
        *levels: np.ndarray,
        spacing: float,
        patient: str = "",
        folder: str = "1_idx1",
        series: tuple[int, int] = (5, 0),
    ) -> Path:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number, level in enumerate(levels):
            path = tmp_path / folder / f"IMG{10 * series[1] + number}.dcm"
            said = spacing * levels[0].shape[1] / level.shape[1]
            path.write_bytes(_dicom(level, number, said, patient, series=series))
        return path

    return write


@pytest.fixture(scope="session")
def tiles_of() -> Callable[..., Tiles]:
    """Tiles a slide and joins what was yielded."""

    def tile(path: Path, spacing: float | None = None) -> Tiles:
        parts = list(tile_slide(path, spacing))
        xs, ys, pixels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("xs", "ys", "pixels"))
        return Tiles(xs, ys, pixels, parts[0].frame)

    return tile


def _dicom(pixels: np.ndarray, number: int, spacing: float, patient: str, series: tuple[int, int]) -> bytes:
    """A whole-slide image by PS3.3 A.32.8, explicit little endian, its frames tiled in full and not compressed."""
    tile = 64
    height, width = pixels.shape[:2]
    down, across = -(-height // tile), -(-width // tile)
    padded = np.pad(pixels, ((0, down * tile - height), (0, across * tile - width), (0, 0)))
    frames = padded.reshape(down, tile, across, tile, 3).swapaxes(1, 2).tobytes()
    image, this = "1.2.840.10008.5.1.4.1.1.77.1.6", f"1.2.3.4.{series[0]}.{number}"
    kind = "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED" if number else "ORIGINAL\\PRIMARY\\VOLUME\\NONE"
    measures = _sequence(0x28, 0x9110, _element(0x28, 0x30, "DS", "\\".join([f"{spacing / 1000:.6f}"] * 2)))
    shorts = [(0x10, tile), (0x11, tile), (0x100, 8), (0x101, 8), (0x102, 7), (0x103, 0)]
    meta = [
        _element(2, 1, "OB", b"\0\1"),
        _element(2, 2, "UI", image),
        _element(2, 3, "UI", this),
        _element(2, 0x10, "UI", "1.2.840.10008.1.2.1"),
    ]
    body = [
        _element(8, 8, "CS", kind),
        _element(8, 0x16, "UI", image),
        _element(8, 0x18, "UI", this),
        _element(8, 0x60, "CS", "SM"),
        _open_sequence(8, 0x1140, _element(8, 0x1150, "UI", image), _open_sequence(8, 0x1199)),  # before the series
        _element(0x10, 0x10, "PN", patient),
        _element(0x20, 0xD, "UI", "1.2.3.4"),
        _element(0x20, 0xE, "UI", f"1.2.3.{series[0]}"),
        _element(0x20, 0x11, "IS", str(series[1])),
        _element(0x20, 0x52, "UI", "1.2.3.6"),
        _element(0x20, 0x9311, "CS", "TILED_FULL"),
        _element(0x28, 2, "US", struct.pack("<H", 3)),
        _element(0x28, 4, "CS", "RGB"),
        _element(0x28, 6, "US", struct.pack("<H", 0)),
        _element(0x28, 8, "IS", str(down * across)),
        *(_element(0x28, place, "US", struct.pack("<H", value)) for place, value in shorts),
        _element(0x48, 6, "UL", struct.pack("<I", width)),
        _element(0x48, 7, "UL", struct.pack("<I", height)),
        _sequence(0x5200, 0x9229, measures),
        _element(0x7FE0, 0x10, "OB", frames),
    ]
    start = _element(2, 0, "UL", struct.pack("<I", len(b"".join(meta))))
    return b"".join([b"\0" * 128, b"DICM", start, *meta, *body])


def _element(group: int, place: int, kind: str, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    data += (b"\0" if kind in {"UI", "OB"} else b" ") * (len(data) % 2)
    length = struct.pack("<HI", 0, len(data)) if kind in {"OB", "SQ"} else struct.pack("<H", len(data))
    return struct.pack("<HH2s", group, place, kind.encode()) + length + data


def _sequence(group: int, place: int, *elements: bytes) -> bytes:
    item = b"".join(elements)
    return _element(group, place, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item)


def _open_sequence(group: int, place: int, *elements: bytes) -> bytes:
    """A sequence of one item, both of undefined length."""
    undefined = 0xFFFFFFFF
    begin = struct.pack("<HH2sHI", group, place, b"SQ", 0, undefined) + struct.pack("<HHI", 0xFFFE, 0xE000, undefined)
    return begin + b"".join(elements) + struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
