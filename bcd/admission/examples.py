"""Small pictures of refused files and flagged patches, for the admission report.

A refused file may be anything: its header is read first, only what is hardly larger than a patch is decoded, and what
cannot be shown becomes a placeholder with its name. No patient who has withdrawn consent is shown.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bcd.pages import embed_picture_in_page
from bcd.patches import PatchName
from bcd.store.batches import open_pixels, read_index_parts
from bcd.store.deliveries import Delivery, RefusedFile
from bcd.store.delivery_queries import find_batch_of_patch

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

    from bcd.store.store import Store

MAX_EDGE = 200
"""A larger picture is not shown, in pixels: it is no patch, and writing on it could name a patient."""

MAX_BYTES = 1 << 20
"""A larger file is not opened."""

_SHOWN_EDGE = 64
_JPEG_QUALITY = 88
_FORMATS = ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"]

T = TypeVar("T")


@dataclass(frozen=True)
class ExamplePicture:
    """One picture of a mosaic.

    Attributes:
        picture: A `data:` URI; None where there is nothing to show.
        caption: What stands below it, a few characters.
        name: The file's path in the delivery, or the patch's place.
        message: What is wrong with it; empty where nothing is.
    """

    picture: str | None
    caption: str
    name: str
    message: str = ""


def choose_refused_evenly(values: Sequence[T], number: int) -> list[T]:
    """Returns at most `number` values, from the first to the last in equal steps."""
    if len(values) <= number:
        return list(values)
    return [values[round(place)] for place in np.linspace(0, len(values) - 1, number)]


@dataclass(frozen=True)
class Gallery:
    """Shows the files and patches of one delivery.

    Attributes:
        store: The open store.
        delivery: The delivery.
        hidden: Its hospital's patients who have withdrawn; they are not shown.
    """

    store: Store
    delivery: Delivery
    hidden: set[str]

    def show_refused(self, file: RefusedFile, place: int) -> ExamplePicture:
        """Returns the picture of a refused file, captioned with its place in the delivery's list, counted from 1."""
        name = parse_refused_name(file)
        image = None
        if file.kept is not None and file.rule != "withdrawn" and (name is None or name.patient not in self.hidden):
            image = open_small(self.store.settings.quarantine / self.delivery.id / file.kept)
        caption = str(place)
        if file.rule == "size" and image is not None:
            caption += f" · {image.width}x{image.height}"
        elif file.rule == "two-labels" and name is not None and name.label is not None:
            caption += f" · label {name.label}"
        elif file.rule == "two-patients" and name is not None:
            caption += f" · {name.patient}"
        return ExamplePicture(None if image is None else _data_uri(image), caption, file.name, file.message)

    def show_held(self, name: PatchName) -> ExamplePicture | None:
        """Returns the picture that a batch holds of the same place; None where none does or it is not to be shown."""
        found = None if name.patient in self.hidden else find_batch_of_patch(self.store, self.delivery.hospital, name)
        if found is None:
            return None
        batch, row = found
        return ExamplePicture(
            _patch_uri(open_pixels(self.store.settings, batch)[row]),
            "admitted",
            _title_refused_patch(name),
            f"admitted in batch {batch[:12]}",
        )

    def show_flagged(self, flag: str, number: int) -> list[ExamplePicture]:
        """Returns pictures of the batch's patches with a flag, spread evenly over the batch."""
        assert self.delivery.batch is not None
        settings, batch = self.store.settings, self.delivery.batch
        flagged = _list_flagged(read_index_parts(settings, batch, ["patient", "flags"]), flag, self.hidden)
        rows = choose_refused_evenly(flagged, number)
        names = _read_patch_names(read_index_parts(settings, batch, ["patient", "slide", "x", "y"]), rows)
        pixels = open_pixels(settings, batch)
        return [
            ExamplePicture(_patch_uri(pixels[row]), one.patient, _title_refused_patch(one))
            for row, one in zip(rows, names, strict=True)
        ]


def _list_flagged(index: Iterable[pa.RecordBatch], flag: str, hidden: set[str]) -> Sequence[int]:
    """Lists the rows of a batch's index that have a flag; no flag's name is a part of another's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found, first, left_out = array("q"), 0, pa.array(sorted(hidden), pa.large_string())
    for part in index:
        flagged = pc.match_substring(part["flags"], flag)
        shown = pc.and_(flagged, pc.invert(pc.is_in(part["patient"], left_out)))
        found.extend((first + np.flatnonzero(shown.to_numpy(zero_copy_only=False))).tolist())
        first += len(part)
    return found


def _read_patch_names(index: Iterable[pa.RecordBatch], rows: Sequence[int]) -> list[PatchName]:
    """Reads the names of some patches, without their labels, from a batch's index; `rows` ascend."""
    names, first = [], 0
    for part in index if rows else ():
        here = [row - first for row in rows if first <= row < first + len(part)]
        columns = part.take(here).to_pydict().values() if here else ()
        names += [PatchName(patient, slide, x, y, None) for patient, slide, x, y in zip(*columns, strict=True)]
        first += len(part)
    return names


def open_small(path: Path) -> Image | None:
    """Decodes a picture that may be damaged or none at all; None where there is nothing small to show."""
    from PIL import Image, ImageFile

    try:
        if not 0 < path.stat().st_size <= MAX_BYTES:
            return None
        image = Image.open(io.BytesIO(path.read_bytes()), formats=_FORMATS)  # reads the header only
        if max(image.size) > MAX_EDGE:
            return None
        ImageFile.LOAD_TRUNCATED_IMAGES = True  # shows as much of a damaged file as there is
        try:
            return _as_rgb(image)
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
    # What Pillow raises on damaged files; a report shows a placeholder then.
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, OverflowError, Image.DecompressionBombError):
        return None


def parse_refused_name(file: RefusedFile) -> PatchName | None:
    """Returns what a refused file's name says; None where it is not named as a patch."""
    return PatchName.parse(file.name.rpartition("/")[2])


def _title_refused_patch(name: PatchName) -> str:
    return f"patient {name.patient}, slide {name.slide}, x {name.x}, y {name.y}"


def _as_rgb(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode.startswith("I;16") or image.mode == "I":
        grey = (np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return Images.fromarray(grey).convert("RGB")
    return image.convert("RGB")


def _data_uri(image: Image) -> str:
    image.thumbnail((_SHOWN_EDGE, _SHOWN_EDGE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return embed_picture_in_page(buffer.getvalue(), "jpeg")


def _patch_uri(pixels: np.ndarray) -> str:
    from PIL import Image

    return _data_uri(Image.fromarray(np.array(pixels)))
