"""A slide opened for reading regions of it: a scanner's file through OpenSlide, or a plain picture through Pillow.

Nothing but pixels of the scanned area, its place, spacing and background colour, and the program that wrote it is
read: never the associated images (label, macro, thumbnail), whose handwriting may name a patient, nor any other
metadata.
What the libraries say of a damaged file is not passed on either, since it may quote both.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from bcd.admission.slides.errors import SlideError
from bcd.admission.slides.memory import ThreadMemory
from bcd.admission.slides.names import PICTURE_SUFFIXES, TIFF_SUFFIXES
from bcd.admission.slides.spacing import Spacing, read_ome_spacing, read_spacing, settle_spacing
from bcd.errors import UnavailableError
from bcd.files import SOFTWARE
from bcd.options import Microns
from bcd.patches import MICRONS_PER_PIXEL, MOST_COARSE
from bcd.store.frames import Frame

if TYPE_CHECKING:
    from openslide import OpenSlide
    from PIL.Image import Image

MOST_PICTURE_PIXELS = 300_000_000
"""A plain picture is decoded as a whole, so its size is bounded: 1.2 GB at 4 bytes a pixel."""

MOST_TILE_PIXELS = 4096 * 4096
"""OpenSlide decodes a tile as a whole; scanners write tiles of 240 to 2,048 px."""

MOST_DRIFT = 0.02
"""A patch's pixel is a whole number of a level's if the last one of the slide lies off by no more of them."""

WHITE = (255, 255, 255)

_OPAQUE = 0xFF00_0000

_STRIP_PIXELS = 1 << 16
"""Of more pixels OpenCV wakes threads of its own, which keep the cores busy while they wait for the next."""

_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _SOFTWARE = 270, 282, 283, 296, 305
_INCH, _CENTIMETRE = 2, 3
_MICRONS_OF_UNIT = {_INCH: 25_400.0, _CENTIMETRE: 10_000.0}


class Region(Protocol):
    """An open slide.

    Attributes:
        size: Width and height, in pixels as they are read.
        tile: Width and height of what is decoded at once, in the same; (1, 1) where it does not matter.
        extent: Width and height of the scanned area, in µm.
        spacing: Along x and y, in µm per pixel as it is read.
        frame: Of its finest level, whichever is read.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    extent: tuple[float, float]
    spacing: Spacing
    frame: Frame

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Reads a region within the slide as RGB, shape (height, width, 3); several threads may.

        Raises:
            SlideError: unreadable.
        """
        ...


class ScannedSlide:
    """A slide that OpenSlide reads, at the coarsest level whose averages are those of the finest.

    Args:
        slide: The slide.
        finest: The spacing of its finest level, in µm/px.
    """

    def __init__(self, slide: OpenSlide, finest: Spacing) -> None:
        self._level, block = _choose_level(slide, finest)
        # OpenSlide places a level by its size: blocks that do not fill the slide are not quite `block` wide to it.
        self._downsample = slide.level_downsamples[self._level]
        self._slide = slide
        self._background = _read_background(slide)
        self._memory = ThreadMemory(np.uint32)
        width, height = slide.dimensions
        self.size = slide.level_dimensions[self._level]
        self.extent = (width * finest[0], height * finest[1])
        self.spacing = (finest[0] * block, finest[1] * block)
        self.frame = Frame(*finest, *read_corner(slide.properties))
        self.tile = _read_tile_size(slide, self._level)

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Reads a region."""
        from ctypes import POINTER, c_uint32

        from openslide import OpenSlideError, lowlevel

        corner = (round(x * self._downsample), round(y * self._downsample))
        pixels = self._memory.take(height, width)
        try:
            # `OpenSlide.read_region` does the same into new memory, which takes a sixth of the time and a copy.
            lowlevel._read_region(
                self._slide._osr, pixels.ctypes.data_as(POINTER(c_uint32)), *corner, self._level, width, height
            )
        except OpenSlideError as error:
            raise SlideError("unreadable", f"The slide is damaged near x {corner[0]:,}, y {corner[1]:,}.") from error
        return self._lay_on_background(pixels)

    def _lay_on_background(self, pixels: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Makes RGB of OpenSlide's pixels, each 0xAARRGGBB, whose colours are multiplied by their opacity."""
        import cv2

        planes = pixels.view(np.uint8).reshape(*pixels.shape, 4)
        colours = np.empty((*pixels.shape, 3), np.uint8)
        rows = max(1, _STRIP_PIXELS // pixels.shape[1])
        for first in range(0, len(pixels), rows):
            strip = slice(first, first + rows)
            cv2.cvtColor(planes[strip], cv2.COLOR_BGRA2RGB, dst=colours[strip])
        if pixels.min() >= _OPAQUE:
            return colours
        shade = np.asarray(self._background) * (1 - (pixels[..., None] >> 24) / np.float32(255))
        return np.rint(np.minimum(colours + shade, 255)).astype(np.uint8)


class PlainPicture:
    """A picture that Pillow has decoded, of some spacing in µm/px."""

    def __init__(self, picture: Image, spacing: Spacing) -> None:
        self.spacing = spacing
        self.size = picture.size
        self.tile = (1, 1)
        self.extent = (picture.width * self.spacing[0], picture.height * self.spacing[1])
        self.frame = Frame(*spacing, 0, 0)
        self._picture = picture

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Reads a region."""
        region = self._picture.crop((x, y, x + width, y + height))
        return _lay_on(WHITE, np.asarray(region if region.mode == "RGB" else region.convert("RGBA")))


@contextmanager
def open_slide(path: Path, spacing: Microns | None, coarsest: Microns = MOST_COARSE) -> Iterator[Region]:
    """Opens a slide.

    Args:
        path: The slide; files that belong to it lie beside it.
        spacing: In µm per pixel, for a slide that does not say it, or to confirm what it says.
        coarsest: In µm per pixel; a slide whose finest level says more is refused unless `spacing` confirms it.

    Raises:
        SlideError: unreadable, no-spacing, absurd-size, colour, own-picture.
        UnavailableError: OpenSlide is not installed.
    """
    if path.suffix.lower() in PICTURE_SUFFIXES:
        with _decode_picture(path) as picture:
            yield PlainPicture(picture, settle_spacing(_read_picture_spacing(picture), spacing, coarsest))
        return
    openslide = _import_openslide()
    try:
        vendor = openslide.OpenSlide.detect_format(path)
        slide = openslide.OpenSlide(path) if vendor is not None else None
    except (openslide.OpenSlideError, OSError) as error:
        raise SlideError(
            "unreadable", "The slide is damaged, truncated, or misses files that belong to it."
        ) from error
    if slide is not None:
        with slide:
            if vendor == "dicom":
                _refuse_own(slide.properties.get("dicom.ManufacturerModelName"))
            # A scanner's own format says its spacing in one place; a TIFF of no scanner's may be anybody's.
            own = _read_tiff_spacing(slide) if vendor == "generic-tiff" else read_spacing(slide.properties)
            yield ScannedSlide(slide, settle_spacing(own, spacing, coarsest))
    elif path.suffix.lower() in TIFF_SUFFIXES:
        with _decode_picture(path) as picture:
            yield PlainPicture(picture, settle_spacing(_read_picture_spacing(picture), spacing, coarsest))
    else:
        raise SlideError("unreadable", "The file is not a slide in any format that OpenSlide knows, or is truncated.")


def _read_tiff_spacing(slide: OpenSlide) -> Spacing | None:
    _refuse_own(slide.properties.get("tiff.Software"))
    said = read_ome_spacing(slide.properties.get("tiff.ImageDescription", ""))
    return said or read_spacing(slide.properties)


def _read_picture_spacing(picture: Image) -> Spacing | None:
    """Reads the spacing off a TIFF; the resolution of a PNG or JPEG is a printer's, never a scanner's."""
    tags: Mapping[int, Any] | None = getattr(picture, "tag_v2", None)
    if tags is None:
        _refuse_own(picture.getexif().get(_SOFTWARE))
        return None
    _refuse_own(tags.get(_SOFTWARE))
    said = read_ome_spacing(str(tags.get(_DESCRIPTION, "")))
    unit = _MICRONS_OF_UNIT.get(tags.get(_RESOLUTION_UNIT, _INCH))
    try:
        across, down = float(tags[_X_RESOLUTION]), float(tags[_Y_RESOLUTION])
        return said or (None if unit is None else (unit / across, unit / down))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return said


def _refuse_own(software: object) -> None:
    if software == SOFTWARE:
        raise SlideError("own-picture", "bcd drew this picture of a slide itself: hand over the slide.")


def _choose_level(slide: OpenSlide, finest: Spacing) -> tuple[int, int]:
    """Chooses the level that is read: the coarsest one from which a patch's pixels come out as from the finest.

    Its pixels must be whole blocks of the finest ones, and a patch's pixel a whole number of them. Otherwise pixels
    that two areas share would be divided evenly, whatever the finest level shows in their halves: on real tissue that
    makes up to 40 grey levels.

    Returns:
        The level, and the edge of its blocks in pixels of the finest.
    """
    size = slide.dimensions

    def suits(level: int, block: int) -> bool:
        return all(
            made in {whole // block, -(-whole // block)} and _averages_alike(block, spacing * block, made)
            for whole, made, spacing in zip(size, slide.level_dimensions[level], finest, strict=True)
        )

    blocks = {level: round(scale) for level, scale in enumerate(slide.level_downsamples)}
    suited = [level for level, block in blocks.items() if block > 1 and suits(level, block)]
    chosen = max(suited, key=blocks.__getitem__, default=0)
    return chosen, blocks[chosen]


def _averages_alike(block: int, spacing: Microns, size: int) -> bool:
    """Whether a patch's pixel comes out of a level as from the finest, along an axis of `size` of the level's pixels.

    It must be a whole number of them, all along the axis; and of so many that their rounding, which scanners repeat
    with every halving, stays below a grey level: 2 along each axis where the level is the first half, 4 of a quarter.
    """
    parts = MICRONS_PER_PIXEL / spacing
    drift = abs(parts - round(parts)) / parts * size
    return drift <= MOST_DRIFT and round(parts) ** 2 >= 2 * block


def _decode_picture(path: Path) -> Image:
    import PIL.Image
    from PIL import TiffImagePlugin
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own decoder makes noise of 16-bit samples in separate planes
    # Pillow's own limit is lower, and a mere warning up to twice its value: `_check_size` has ours.
    PIL.Image.MAX_IMAGE_PIXELS = MOST_PICTURE_PIXELS
    kinds: dict[bytes, Callable[[BinaryIO], Image]] = {
        b"\x89PNG": PngImageFile,
        b"\xff\xd8": JpegImageFile,
        b"II": TiffImagePlugin.TiffImageFile,
        b"MM": TiffImagePlugin.TiffImageFile,
    }
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            begin = file.read(4)
            file.seek(0)
            kind = next((kind for signature, kind in kinds.items() if begin.startswith(signature)), None)
            if kind is None:
                raise SlideError(
                    "unreadable", "The file is neither a PNG, a JPEG nor a TIFF, whatever its name says."
                )
            picture = kind(file)
            _check_size(picture)
            picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, zlib.error, struct.error) as error:
        raise SlideError("unreadable", "The picture is damaged or truncated.") from error
    if picture.mode not in {"RGB", "RGBA", "P"}:  # known for certain only now: a header may be truncated, too
        raise SlideError("colour", "The picture is not in RGB (grey or CMYK).")
    return picture


def _check_size(picture: Image) -> None:
    if picture.width * picture.height > MOST_PICTURE_PIXELS:
        message = f"The picture has {picture.width:,} x {picture.height:,} px, over {MOST_PICTURE_PIXELS:,} in all"
        raise SlideError("absurd-size", f"{message}: hand it over as a pyramidal, tiled TIFF.")


def _read_tile_size(slide: OpenSlide, level: int) -> tuple[int, int]:
    keys = (f"openslide.level[{level}].tile-width", f"openslide.level[{level}].tile-height")
    width, height = (int(slide.properties.get(key, 1)) for key in keys)
    if width * height > MOST_TILE_PIXELS:
        message = f"The slide is stored in tiles of {width:,} x {height:,} px"
        raise SlideError("absurd-size", f"{message}: hand it over with tiles of at most 4,096 x 4,096 px.")
    return width, height


def read_corner(properties: Mapping[str, str]) -> tuple[int, int]:
    """Reads where the scanned part begins in the finest level; QuPath, among others, shows no more than it."""
    return int(properties.get("openslide.bounds-x", 0)), int(properties.get("openslide.bounds-y", 0))


def _read_background(slide: OpenSlide) -> tuple[int, int, int]:
    colour = slide.properties.get("openslide.background-color", "FFFFFF")
    return int(colour[:2], 16), int(colour[2:4], 16), int(colour[4:6], 16)


def _lay_on(background: tuple[int, int, int], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays RGB or RGBA on a background and returns RGB."""
    import cv2

    if pixels.shape[2] == 3:
        return pixels
    colours = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)  # a slice of three of four is walked over ten times slower
    if pixels[..., 3].min() == 255:
        return np.asarray(colours)
    opacity = pixels[..., 3:].astype(np.float32) / 255
    return np.asarray(np.rint(colours * opacity + np.asarray(background) * (1 - opacity)), dtype=np.uint8)


def _import_openslide() -> ModuleType:
    try:
        import openslide
    except ModuleNotFoundError as error:  # openslide-python's own, where its library is missing, too
        raise UnavailableError(
            "OpenSlide, which reads slides, is not installed.", "Run `pip install openslide-bin openslide-python`."
        ) from error
    return openslide
