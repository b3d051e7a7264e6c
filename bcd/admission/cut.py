"""The slides of a delivery, cut into patches that join the others.

A slide in an archive is copied to a scratch folder first, because OpenSlide reads files only, and removed after it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bcd.admission.examine import as_hex
from bcd.admission.findings import Findings
from bcd.admission.pixels import find_blank, hash_pixels, look_at_pixels, raise_flags
from bcd.admission.plan import UNLABELLED, SlideFile
from bcd.admission.rules import Refusal
from bcd.admission.slides.tiling import SlideError, Tiles, tile_slide
from bcd.admission.sources.source import Source, UnreadableFileError
from bcd.progress import say, track
from bcd.store.spool import Spool

if TYPE_CHECKING:
    import pandas as pd


def cut_slides(
    source: Source, slides: list[SlideFile], findings: Findings, spool: Spool, *, scratch: Path, spacing: float | None
) -> None:
    """Cuts slides into patches, appends their pixels to the spool and their rows to the findings.

    A slide is all admitted or refused: where damage shows late, what was cut of it before is dropped. Its bytes are
    never kept in quarantine: its label image and its metadata may name a patient.

    Args:
        source: The delivery.
        slides: Its slides.
        findings: What was found so far; slides join it.
        spool: Takes the pixels.
        scratch: Folder for copies.
        spacing: In µm per pixel, for slides that do not say it.
    """
    if not slides:
        return
    frames = [findings.patches]
    with track("Cutting slides", total=len(slides)) as advance:
        for slide in slides:
            files = [slide.member, *slide.companions]
            findings.private.update(files)
            try:
                with _on_disk(source, files, scratch) as paths:
                    for member, path in zip(files, paths, strict=True):
                        findings.digests[member] = _digest(path)
                    cut = [_rows(slide, tiles, spool) for tiles in tile_slide(paths[0], spacing)]
            except (SlideError, UnreadableFileError) as error:
                refusal = Refusal(
                    error.rule, f"{error}" if isinstance(error, SlideError) else f"Not readable: {error}."
                )
                findings.refused.update(dict.fromkeys(files, refusal))
                continue
            frames += cut
            say(f"{findings.names[slide.member]}: {sum(map(len, cut)):,} patches with tissue.")
            advance(1)
    findings.patches = _in_order(frames)


def _rows(slide: SlideFile, tiles: Tiles, spool: Spool) -> pd.DataFrame:
    import pandas as pd

    shown = look_at_pixels(tiles.pixels)
    kept = np.flatnonzero(~find_blank(shown))
    pixels = tiles.pixels[kept]
    first = spool.append(pixels)
    return pd.DataFrame(
        {
            "member": np.int32(slide.member),
            "patient": slide.patient,
            "slide": slide.slide,
            "x": tiles.xs[kept].astype(np.int32),
            "y": tiles.ys[kept].astype(np.int32),
            "label": np.int8(UNLABELLED),
            "pixel_sha256": as_hex(hash_pixels(pixels)),
            "flags": raise_flags(shown)[kept],
            "red": shown.colours[kept, 0],
            "green": shown.colours[kept, 1],
            "blue": shown.colours[kept, 2],
            "spool_row": np.arange(first, first + len(kept), dtype=np.int32),
        }
    )


def _in_order(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Joins patches of files and slides in canonical order."""
    import pandas as pd

    text = [frame.astype({"patient": "str", "slide": "str"}) for frame in frames]
    joined = pd.concat(text, ignore_index=True).sort_values(["patient", "slide", "y", "x"], ignore_index=True)
    return joined.astype({"patient": "category", "slide": "category"})


@contextmanager
def _on_disk(source: Source, members: list[int], scratch: Path) -> Iterator[list[Path]]:
    """Yields paths of files that belong together, lying to each other as in the delivery."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="slide-") as folder:
        paths = []
        for member in members:
            path = Path(folder, *PurePosixPath(source.names[member]).parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            source.copy(member, path)
            paths.append(path)
        yield paths


def _digest(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.frombuffer(hashlib.file_digest(file, "sha256").digest(), np.uint8)
