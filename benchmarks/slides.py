"""How fast, and in how much memory, a giant whole-slide image is cut into patches.

Makes a slide of 100,000 x 80,000 px at 0.25 µm/px, tiles it in a process of its own, and prints patches/s,
the Mpx that a second of one core tiles beside those that OpenSlide merely reads, and the peak of resident memory
beside its limit. Mapped files do not count as memory.

    .venv/bin/python benchmarks/slides.py             # one level: every tile is decoded
    .venv/bin/python benchmarks/slides.py --pyramid   # levels of 1, 1/4, 1/16, as scanners write them
    .venv/bin/python benchmarks/slides.py --slide shared/slide.svs
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import psutil

MOST_MEMORY = 512
"""MB, of the process that tiles."""

TILE = 256
SPACING = 0.25
LEVELS = (1, 4, 16)
KINDS = 64
GLASS = 0.4
"""Share of the slide that is glass, at its left."""


def main() -> int:
    """Prints the figures and returns 1 where the limit on memory is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=100_000, help="in px (default 100,000)")
    parser.add_argument("--height", type=int, default=80_000, help="in px (default 80,000)")
    parser.add_argument("--pyramid", action="store_true", help="with levels of 1/4 and 1/16")
    parser.add_argument("--slide", type=Path, help="a slide of your own instead")
    parser.add_argument("--tile", type=Path, help=argparse.SUPPRESS)  # the process of its own
    arguments = parser.parse_args()
    if arguments.tile:
        print(json.dumps(_tile(arguments.tile)))
        return 0
    if arguments.slide:
        return _report(arguments.slide)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1_idx1.tif"
        started = time.perf_counter()
        levels = LEVELS if arguments.pyramid else LEVELS[:1]
        write_slide(path, draw_tiles(), arguments.width, arguments.height, levels)
        print(f"Made {arguments.width:,} x {arguments.height:,} px in {time.perf_counter() - started:.0f} s.")
        return _report(path)


def _report(path: Path) -> int:
    command = [sys.executable, __file__, "--tile", str(path)]
    run = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rate, limit = run["read"] / run["cpu"], _reading_rate(path)
    verdict = "ok" if run["memory"] <= MOST_MEMORY else "MISSED"
    print(f"patches          {run['patches']:>7,}  in {run['seconds']:.1f} s on {os.cpu_count()} cores")
    print(f"patches/s        {run['patches'] / run['seconds']:>7,.0f}")
    print(f"Mpx read         {run['read']:>7,.0f}  of {run['finest']:,.0f} at the finest level")
    print(f"Mpx/s and core   {rate:>7,.0f}  limit {limit:,.0f} (OpenSlide alone), share {rate / limit:.2f}")
    print(f"peak memory, MB  {run['memory']:>7,.0f}  limit {MOST_MEMORY}, {run['before']:.0f} before  {verdict}")
    return int(verdict != "ok")


def _tile(path: Path) -> dict[str, float]:
    import openslide

    from bcd.admission.slides.reading import open_slide
    from bcd.admission.slides.tiling import tile_slide

    with open_slide(path, None) as region, openslide.OpenSlide(path) as slide:
        read, finest = (np.prod(size) / 1e6 for size in (region.size, slide.dimensions))
    before = _memory()
    started, used = time.perf_counter(), time.process_time()
    with _peak_memory() as peak:
        patches = sum(len(tiles.xs) for tiles in tile_slide(path, None))
    run = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used, "patches": patches}
    return {**run, "read": read, "finest": finest, "memory": peak[0], "before": before}


def _reading_rate(path: Path) -> float:
    """Returns Mpx/s of OpenSlide's read_region in squares of 2,048 px all over the level that tiling reads."""
    import openslide

    from bcd.admission.slides.reading import open_slide

    with open_slide(path, None) as region, openslide.OpenSlide(path) as slide:
        level = slide.level_dimensions.index(region.size)
        scale = slide.level_downsamples[level]
        width, height = (min(2048, size) for size in region.size)
        across, down = region.size[0] // width, region.size[1] // height
        places = [divmod(place, across) for place in range(0, across * down, max(1, across * down // 100))]
        used = time.process_time()
        for row, column in places:
            slide.read_region((round(column * width * scale), round(row * height * scale)), level, (width, height))
        return len(places) * width * height / 1e6 / (time.process_time() - used)


def _memory() -> float:
    """Returns the resident memory of this process without mapped files, in MB."""
    memory = psutil.Process().memory_info()
    return float(memory.rss - memory.shared) / 1e6


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    peak = [_memory()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], _memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield peak
    done.set()
    watcher.join()


def draw_tiles() -> list[bytes]:
    """Draws a tile of glass and tiles of something stained, about as hard to decode as a scanner's."""
    rng = np.random.default_rng(0)
    tiles = [_encode(rng.normal(243, 1, (TILE, TILE, 3)))]
    for _ in range(KINDS):
        nuclei = cv2.GaussianBlur(rng.normal(0, 1, (TILE, TILE)), (0, 0), 5) * 20 > 1.2
        fibres = cv2.GaussianBlur(rng.normal(0, 1, (TILE, TILE)), (0, 0), 9, sigmaY=3)[..., None] * 200
        colour = np.where(nuclei[..., None], (110, 70, 140), (215, 160, 200))
        tiles.append(_encode(cv2.GaussianBlur(colour + fibres + rng.normal(0, 6, (TILE, TILE, 3)), (0, 0), 0.8)))
    return tiles


def _encode(rgb: np.ndarray) -> bytes:
    pixels = np.clip(rgb, 0, 255).astype(np.uint8)[..., ::-1]
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())


def write_slide(path: Path, tiles: list[bytes], width: int, height: int, levels: tuple[int, ...]) -> None:
    """Writes a tiled BigTIFF whose tiles share a few JPEG streams: a file may point twice at the same bytes."""
    rng = np.random.default_rng(1)
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        places = []
        for tile in tiles:
            places.append((file.tell(), len(tile)))
            file.write(tile)
        offsets, lengths = np.array(places, np.uint64).T
        link = 8
        for scale in levels:
            size = -(-width // scale), -(-height // scale)
            down, across = -(-size[1] // TILE), -(-size[0] // TILE)
            chosen = rng.integers(1, len(tiles), (down, across))
            chosen[:, : round(across * GLASS)] = 0
            link = _write_level(file, link, size, (offsets[chosen.ravel()], lengths[chosen.ravel()]))


def _write_level(file: BinaryIO, link: int, size: tuple[int, int], places: tuple[np.ndarray, np.ndarray]) -> int:
    """Writes one level, links the level before to it, and returns where the link to the next one lies."""
    offsets, lengths = places
    arrays = file.seek(0, os.SEEK_END)
    file.write(offsets.tobytes() + lengths.tobytes())
    per_centimetre = struct.pack("<II", round(1e4 / SPACING), 1)
    short, long, rational, long8 = 3, 4, 5, 16
    entries = [
        (254, long, 1, int(link > 8)),
        (256, long, 1, size[0]),
        (257, long, 1, size[1]),
        (258, short, 3, struct.pack("<HHH", 8, 8, 8)),
        (259, short, 1, 7),  # JPEG
        (262, short, 1, 6),  # YCbCr
        (277, short, 1, 3),
        (282, rational, 1, per_centimetre),
        (283, rational, 1, per_centimetre),
        (284, short, 1, 1),
        (296, short, 1, 3),  # per centimetre
        (322, long, 1, TILE),
        (323, long, 1, TILE),
        (324, long8, len(offsets), arrays),
        (325, long8, len(offsets), arrays + offsets.nbytes),
        (530, short, 2, struct.pack("<HH", 2, 2)),
    ]
    start = file.tell()
    file.write(struct.pack("<Q", len(entries)))
    for tag, kind, count, value in entries:
        packed = value if isinstance(value, bytes) else struct.pack("<Q", value)
        file.write(struct.pack("<HHQ", tag, kind, count) + packed.ljust(8, b"\0"))
    end = file.tell()
    file.write(struct.pack("<Q", 0))
    file.seek(link)
    file.write(struct.pack("<Q", start))
    return end


if __name__ == "__main__":
    raise SystemExit(main())
