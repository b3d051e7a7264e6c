from __future__ import annotations

import re
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bcd.admission.slides.reading import open_slide
from bcd.admission.slides.tiling import SlideError, tile_slide
from bcd.errors import BcdError
from bcd.files import SOFTWARE
from bcd.scoring.picture import Picture

PINK = (220, 150, 190)
BLUE = (10, 20, 250)
NAME = "Mustermann Erika"


def _refusal(path: Path, spacing: float | None = None) -> SlideError:
    with pytest.raises(SlideError) as caught:
        list(tile_slide(path, spacing))
    return caught.value


def _pink(width: int = 400, height: int = 400) -> np.ndarray:
    return np.full((height, width, 3), PINK, np.uint8)


def test_nothing_but_the_scanned_area_reaches_the_patches(
    as_aperio, tiles_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = np.full((80, 60, 3), BLUE, np.uint8)
    path = as_aperio(_pink(), label, f"Patient = {NAME}")
    with openslide.OpenSlide(path) as slide:
        assert {"label", "macro"} <= set(slide.associated_images)  # there is something to leak
        assert NAME in slide.properties["openslide.comment"]
    asked: set[str] = set()

    class Watched(Mapping[str, str]):
        def __init__(self, slide: openslide.OpenSlide) -> None:
            self._properties = openslide._PropertyMap(slide._osr)

        def __getitem__(self, key: str) -> str:
            asked.add(key)
            return self._properties[key]

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("all the metadata were walked through")

        def __len__(self) -> int:
            raise AssertionError("all the metadata were walked through")

    def refuse(self: openslide.OpenSlide) -> None:
        raise AssertionError("the associated images were asked for")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(refuse))
    monkeypatch.setattr(openslide.OpenSlide, "properties", property(Watched))
    tiles = tiles_of(path)
    assert len(tiles.xs) == 4
    assert (tiles.pixels == PINK).all()
    assert asked == {
        "openslide.mpp-x",
        "openslide.mpp-y",
        "openslide.bounds-x",
        "openslide.bounds-y",
        "openslide.background-color",
        "openslide.level[0].tile-width",
        "openslide.level[0].tile-height",
    }


def test_no_refusal_quotes_a_slide_or_its_path(as_aperio) -> None:
    path = as_aperio(_pink(), _pink(80, 60), f"Patient = {NAME}")
    whole = path.read_bytes()
    spoilt = (whole[: len(whole) // 2], whole[:200], whole.replace(b"MPP = 1.0", b"MPP = Q.0"))
    for content in spoilt:
        path.write_bytes(content)
        message = _refusal(path).message
        assert "Mustermann" not in message
        assert path.name not in message


def test_a_dicom_series_is_read_from_any_of_its_files(as_dicom, tiles_of) -> None:
    slide = np.random.default_rng(0).integers(100, 256, (800, 1000, 3), dtype=np.uint8)
    slide[:, 400:, 1] //= 2
    small = cv2.resize(slide, (500, 400), interpolation=cv2.INTER_AREA)
    last = as_dicom(slide, small, spacing=1.0, patient="Mustermann^Erika")
    with open_slide(last, None) as region:
        assert (region.size, region.spacing) == ((500, 400), (2.0, 2.0))
    tiles = tiles_of(last)
    again = tiles_of(last.with_name("IMG0.dcm"))
    assert {(101, 1), (101, 151), (151, 51)} <= set(zip(tiles.xs.tolist(), tiles.ys.tolist(), strict=True))
    assert np.array_equal(tiles.pixels, again.pixels)
    at = int(np.flatnonzero((tiles.xs == 151) & (tiles.ys == 51))[0])
    expected = cv2.resize(small[100:200, 300:400], (50, 50), interpolation=cv2.INTER_AREA)
    assert np.abs(tiles.pixels[at].astype(int) - expected).max() <= 1


def test_the_spacing_of_a_dicom_counts(as_dicom) -> None:
    assert "8 µm/px" in _refusal(as_dicom(_pink(), spacing=8.0)).message


def test_what_was_not_scanned_is_background(tmp_path: Path) -> None:
    path = tmp_path / "1_idx1.png"
    picture = np.zeros((100, 100, 4), np.uint8)  # transparent black
    picture[:50, :25] = (*PINK[::-1], 255)
    picture[:50, 25:50] = (*PINK[::-1], 51)
    cv2.imwrite(str(path), picture)
    (tiles,) = tile_slide(path, 4.0)
    assert tiles.xs.tolist() == tiles.ys.tolist() == [1]
    assert (tiles.pixels[0, :, :25] == PINK).all()
    assert (tiles.pixels[0, :, 25:] == (248, 234, 242)).all()  # a fifth of pink on white


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "tif", "tiff"])
def test_a_plain_picture_is_a_slide_if_its_spacing_is_given(tmp_path: Path, tiles_of, suffix: str) -> None:
    picture = np.full((400, 600, 3), (240, 240, 240), np.uint8)
    picture[200:, 200:400] = PINK[::-1]
    path = tmp_path / f"1_idx1.{suffix}"
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])
    tiles = tiles_of(path, 1.0)
    inner = tiles.pixels[(tiles.xs == 51) & (tiles.ys == 51)][0, 4:-4, 4:-4].astype(int)
    assert len(tiles.xs) == 1
    assert np.abs(inner - PINK).max() <= 3
    assert _refusal(path).rule == "no-spacing"


def test_a_palette_is_colour_and_grey_is_not(tmp_path: Path, tiles_of) -> None:
    from PIL import Image

    Image.fromarray(_pink()).quantize(4).save(tmp_path / "1_idx1.png")
    assert (tiles_of(tmp_path / "1_idx1.png", 1.0).pixels == PINK).all()
    Image.fromarray(_pink()).convert("L").save(tmp_path / "1_idx2.png")
    assert _refusal(tmp_path / "1_idx2.png", 1.0).rule == "colour"
    cv2.imwrite(str(tmp_path / "1_idx3.tif"), np.full((400, 400), 40_000, np.uint16))
    assert _refusal(tmp_path / "1_idx3.tif", 1.0).rule == "colour"


def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 10_001, 8, 2, 0, 0, 0)
    path = tmp_path / "1_idx1.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    refusal = _refusal(path, 1.0)
    assert refusal.rule == "absurd-size"
    assert "pyramidal" in refusal.message


def test_no_other_limit_on_the_size_than_ours_stops_a_picture(
    tiles_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pillow's own, of 179 million pixels, ended the program where the header of a TIFF said 180 million.
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 10_000)
    path = tmp_path / "1_idx1.tif"
    tifffile.imwrite(path, _pink(), photometric="rgb", metadata=None, compression="zlib")
    assert (tiles_of(path, 1.0).pixels == PINK).all()


def test_a_slide_of_one_giant_tile_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "1_idx1.tif"
    pixels = np.full((200, 200, 3), PINK, np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, tile=(208, 208), photometric="rgb", metadata=None, resolution=(1e4, 1e4), resolutionunit=3)
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(8000)
        for name in ("TileWidth", "TileLength"):
            file.pages[0].tags[name].overwrite(8000)
    assert _refusal(path).rule == "absurd-size"


@pytest.mark.parametrize("suffix", ["svs", "tif", "ndpi", "mrxs", "scn", "vms", "bif", "dcm", "png", "jpg"])
@pytest.mark.parametrize("content", [b"", b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"hello " * 1000])
def test_what_is_no_slide_is_unreadable(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"1_idx1.{suffix}"
    path.write_bytes(content)
    assert _refusal(path, 1.0).rule == "unreadable"


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_truncated_picture_is_unreadable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"1_idx1.{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-5000])
    assert _refusal(path, 1.0).rule == "unreadable"


def test_damage_found_on_the_way_is_named_by_its_place(as_slide) -> None:
    path = as_slide(_pink(800, 800), _pink(200, 200), spacing=1.0)  # on opening, OpenSlide reads the last level
    with tifffile.TiffFile(path, mode="r+") as file:
        offsets = file.pages[0].tags["TileOffsets"]
        offsets.overwrite((*offsets.value[:-20], *([path.stat().st_size + 4096] * 20)))
    refusal = _refusal(path)
    assert refusal.rule == "unreadable"
    assert re.search(r"x [\d,]+, y [\d,]+", refusal.message)  # where on the slide


@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_crashes_or_hangs(as_aperio, as_slide, data: st.DataObject) -> None:
    if data.draw(st.booleans(), label="aperio"):
        path = as_aperio(_pink(), _pink(80, 60), "x")
    else:
        path = as_slide(_pink(), spacing=1.0)
    content = bytearray(path.read_bytes())
    structure = [*range(1024), *range(max(0, len(content) - 1024), len(content))]
    for _ in range(data.draw(st.integers(1, 8), label="bytes")):
        place = data.draw(st.sampled_from(structure))
        content[place % len(content)] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)), label="length")])
    try:
        for tiles in tile_slide(path, None):
            assert tiles.pixels.shape[1:] == (50, 50, 3)
    except SlideError as error:
        assert error.rule in {"no-spacing", "no-tissue", "unreadable", "absurd-size", "colour"}  # noqa: PT017


def test_without_openslide_the_command_to_install_it_is_named(as_slide, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_slide(_pink())
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(BcdError, match="openslide-bin"):
        list(tile_slide(path, None))


def test_an_error_of_the_caller_stays_its_own(as_slide) -> None:
    with pytest.raises(ValueError, match="mine"), open_slide(as_slide(_pink()), None):
        raise ValueError("mine")


@pytest.mark.parametrize("tiled", [True, False])
def test_what_an_ome_tiff_says_of_its_pixels_counts(tmp_path: Path, tiles_of, tiled: bool) -> None:
    path = tmp_path / "1_idx1.ome.tif"
    size = {"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    layout = {"tile": (64, 64)} if tiled else {"rowsperstrip": 16}
    tifffile.imwrite(path, _pink(), photometric="rgb", ome=True, metadata={"axes": "YXS", **size}, **layout)
    assert len(tiles_of(path).xs) == 1
    assert re.findall(r"\d\.\d+", _refusal(path, 0.25).message) == ["0.5", "0.25"]


def test_the_resolution_of_a_tiff_in_strips_counts_as_that_of_a_tiled_one(tmp_path: Path, tiles_of) -> None:
    for unit, per_unit in (("CENTIMETER", 1e4), ("INCH", 25_400)):
        path = tmp_path / "1_idx1.tif"
        tifffile.imwrite(path, _pink(), photometric="rgb", resolution=(per_unit / 0.5,) * 2, resolutionunit=unit)
        assert len(tiles_of(path).xs) == 1
    tifffile.imwrite(path, _pink(), photometric="rgb", resolution=(72, 72), resolutionunit="INCH")
    assert len(tiles_of(path, 0.5).xs) == 1  # a printer's
    tifffile.imwrite(path, _pink(), photometric="rgb", resolution=(1, 1), resolutionunit="NONE")
    assert _refusal(path).rule == "no-spacing"


def test_a_finest_level_coarser_than_scanners_have_is_to_be_confirmed(as_slide) -> None:
    path = as_slide(_pink(), spacing=4.99)
    with pytest.raises(SlideError) as caught:
        list(tile_slide(path, None, coarsest=1.2))
    assert caught.value.rule == "no-spacing"
    assert all(text in caught.value.message for text in ("4.99 µm/px", "0.499", "--spacing", "slides.csv"))
    assert [len(tiles.xs) for tiles in tile_slide(path, 4.99, coarsest=1.2)]
    assert [len(tiles.xs) for tiles in tile_slide(path, None, coarsest=5.0)]


@pytest.mark.parametrize("layout", [{"tile": (64, 64)}, {"rowsperstrip": 16}])
def test_a_picture_that_bcd_drew_is_no_slide(tmp_path: Path, layout: dict[str, object]) -> None:
    drawn, path = tmp_path / "1_idx1.png", tmp_path / "1_idx2.tif"
    Picture(_pink(), title="Patient 1, slide 1", longest_edge=2000).save(drawn)
    tifffile.imwrite(path, _pink(), photometric="rgb", software=SOFTWARE, metadata=None, **layout)
    assert _refusal(drawn, 1.0).rule == _refusal(path, 1.0).rule == "own-picture"
