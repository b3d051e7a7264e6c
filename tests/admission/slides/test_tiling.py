from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from bcd.admission.slides import averaging, tiling
from bcd.admission.slides.reading import ScannedSlide
from bcd.admission.slides.tiling import SlideError, cut_patches, tile_slide

CMU = Path(__file__).parents[3].parent / "shared/data/slides/cmu_small_region.svs"


def _places(tiles: tiling.Tiles) -> list[tuple[int, int]]:
    return list(zip(tiles.xs.tolist(), tiles.ys.tolist(), strict=True))


def test_a_square_of_tissue_lands_in_its_patch_and_in_no_other(as_slide, tiles_of, glass, colours) -> None:
    slide = glass(1200, 1000)
    slide[200:400, 400:600] = colours[2]
    tiles = tiles_of(as_slide(slide, spacing=1.0))
    assert _places(tiles) == [(101, 51)]
    assert (tiles.pixels == colours[2]).all()


@pytest.mark.parametrize("spacing", [0.25, 0.5, 1.0, 2.0, 4.0, 5.0])
def test_every_patch_has_its_own_colour_at_any_spacing(as_slide, tiles_of, spacing: float) -> None:
    step = round(200 / spacing)
    reds = np.arange(150, 150 + 12).reshape(3, 4)
    slide = np.zeros((3 * step + 7, 4 * step + 7, 3), np.uint8)  # and a little of a patch at each end
    slide[: 3 * step, : 4 * step] = np.stack([reds, reds - 60, reds], axis=2).repeat(step, 0).repeat(step, 1)
    tiles = tiles_of(as_slide(slide, spacing=spacing))
    assert _places(tiles) == [(x, y) for y in (1, 51, 101) for x in (1, 51, 101, 151)]
    expected = np.broadcast_to(reds.reshape(12, 1, 1), tiles.pixels.shape[:3])
    assert np.array_equal(tiles.pixels[..., 0], expected)


def test_a_spacing_with_fractions_does_not_drift(as_slide, tiles_of, area_average) -> None:
    slide = np.random.default_rng(0).integers(0, 256, (1503, 2107, 3), dtype=np.uint8)
    slide[..., 1] //= 3  # stained throughout
    spacing = (0.499, 0.731)
    tiles = tiles_of(as_slide(slide, spacing=spacing))
    assert _places(tiles) == [(x, y) for y in range(1, 202, 50) for x in range(1, 202, 50)]
    made = np.zeros((250, 250, 3), np.uint8)
    for x, y, patch in zip(tiles.xs, tiles.ys, tiles.pixels, strict=True):
        made[y - 1 : y + 49, x - 1 : x + 49] = patch
    assert np.abs(made - area_average(slide, spacing)[:250, :250]).max() <= 0.6  # rounding is half a level


def test_a_patch_that_is_cut_again_is_the_same_to_a_grey_level(as_slide, tiles_of) -> None:
    slide = np.random.default_rng(0).integers(0, 256, (1503, 2107, 3), dtype=np.uint8)
    slide[..., 1] //= 3
    path = as_slide(slide, spacing=(0.499, 0.731))
    tiles = tiles_of(path)
    some = [17, 3, 24]
    cut = cut_patches(path, tiles.xs[some], tiles.ys[some])
    assert np.abs(cut.astype(int) - tiles.pixels[some]).max() <= 1


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    """What is read of a slide: column, row, width, height."""
    made: list[tuple[int, int, int, int]] = []
    read = ScannedSlide.read

    def watch(self: ScannedSlide, x: int, y: int, width: int, height: int) -> np.ndarray:
        made.append((x, y, width, height))
        return read(self, x, y, width, height)

    monkeypatch.setattr(ScannedSlide, "read", watch)
    return made


@pytest.mark.parametrize("spacing", [0.87, 1.0, 3.1])
def test_blocks_leave_no_seams_and_decode_each_tile_once(
    as_slide, tiles_of, reads, monkeypatch: pytest.MonkeyPatch, spacing: float
) -> None:
    slide = np.random.default_rng(1).integers(0, 256, (1700, 2300, 3), dtype=np.uint8)
    slide[..., 1] //= 3
    path = as_slide(slide, spacing=spacing)
    whole = tiles_of(path)
    reads.clear()
    monkeypatch.setattr(averaging, "BLOCK_PIXELS", (150, 100))
    pieces = tiles_of(path)
    assert _places(pieces) == _places(whole) == sorted(_places(whole), key=lambda place: place[::-1])
    assert np.array_equal(pieces.pixels, whole.pixels)
    area = int(4 / spacing) + 2
    assert all(x % 192 == y % 128 == 0 for x, y, _, _ in reads)  # whole tiles, each of which is begun with once
    assert len(reads) == len(set(reads)) == len({x for x, _, _, _ in reads}) * len({y for _, y, _, _ in reads})
    assert max(w for _, _, w, _ in reads) <= 192 + area  # and what of the next an area needs
    assert max(h for _, _, _, h in reads) == 128


def test_a_band_of_high_tiles_is_lower_than_they_are(
    as_slide, reads, colours, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_slide(np.full((400, 600, 3), colours[1], np.uint8), spacing=1.0)
    monkeypatch.setattr(averaging, "MOST_BAND_PIXELS", 40)
    assert sum(len(tiles.xs) for tiles in tile_slide(path, None)) == 6
    assert max(h for _, _, _, h in reads) == 40


def test_memory_does_not_grow_with_the_slide(as_slide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging, "BLOCK_PIXELS", (128, 128))
    monkeypatch.setattr(averaging, "MOST_WORKERS", 1)  # two may or may not be at their peak at the same moment
    peaks = []
    for height in (4000, 4000, 12_000):  # the first also imports
        slide = np.full((height, 1600, 3), (180, 90, 160), np.uint8)
        path = as_slide(slide, spacing=1.0)
        tracemalloc.start()
        count = sum(len(tiles.xs) for tiles in tile_slide(path, None))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == 8 * height // 200
    assert peaks[2] < 1.5 * peaks[1]  # of a slide three times as high


def test_pixels_come_from_the_level_that_still_averages(as_slide, tiles_of) -> None:
    """At 0.25, 1 and 4 µm/px the middle one is read: four by four of its pixels make one of the patch's."""
    levels = [np.full((1600 // scale, 1600 // scale, 3), (150, 80, red), np.uint8) for scale, red in _LEVELS]
    tiles = tiles_of(as_slide(*levels, spacing=0.25))
    assert (tiles.pixels[..., 2] == 131).all()


def test_a_level_that_does_not_fill_the_slide_is_read_where_it_lies(as_slide, tiles_of) -> None:
    """OpenSlide reckons that 20,003 px over 5,000 are blocks of 4.0006, and is 3 px off at the end of the slide."""
    level = np.full((200, 5000, 3), (150, 80, 150), np.uint8)
    level[:, 4600:4800] = (200, 120, 190)  # the last patch but one
    finest = np.full((800, 20_003, 3), (150, 80, 150), np.uint8)
    tiles = tiles_of(as_slide(finest, level, spacing=0.25))
    last = tiles.pixels[-2].astype(int)
    assert _places(tiles)[-2] == (1151, 1)
    assert np.abs(last - (200, 120, 190)).max() <= 7  # an eighth of the level's pixel, at the patch's edge
    assert (last[:, 1:-1] == (200, 120, 190)).all()


_LEVELS = ((1, 130), (4, 131), (16, 132))


def test_pieces_at_the_edge_are_dropped(as_slide, tiles_of, colours) -> None:
    slide = np.full((399, 799, 3), colours[1], np.uint8)
    assert _places(tiles_of(as_slide(slide, spacing=1.0))) == [(1, 1), (51, 1), (101, 1)]
    assert len(tiles_of(as_slide(slide[:, :600], spacing=(1.0, 1.005))).xs) == 6  # 399 px are 401 µm


def test_rounding_of_the_spacing_costs_no_patch(as_slide, tiles_of, colours) -> None:
    slide = np.full((600, 600, 3), colours[1], np.uint8)
    assert len(tiles_of(as_slide(slide, spacing=1 / 3)).xs) == 1
    assert len(tiles_of(as_slide(slide, spacing=0.33333333)).xs) == 1


@pytest.mark.parametrize(("width", "height"), [(1000, 1000), (199, 1000)])
def test_a_slide_of_glass_has_no_tissue(as_slide, glass, width: int, height: int) -> None:
    with pytest.raises(SlideError) as caught:
        list(tile_slide(as_slide(glass(width, height)), None))
    assert caught.value.rule == "no-tissue"


def test_a_slide_longer_than_any_glass_is_refused(as_slide) -> None:
    slide = np.full((64, 20_100, 3), 200, np.uint8)
    with pytest.raises(SlideError, match=r"\b80 mm") as caught:
        list(tile_slide(as_slide(slide, spacing=4.0), None))
    assert caught.value.rule == "absurd-size"


@pytest.mark.real_data
@pytest.mark.skipif(not CMU.exists(), reason=f"needs the development slide {CMU}")
def test_a_real_slide_gives_its_tissue_and_leaves_its_glass(tiles_of) -> None:
    tiles = tiles_of(CMU)
    grid = [[(1 + 50 * x, 1 + 50 * y) in _places(tiles) for x in range(5)] for y in range(7)]
    seen = ["..##.", "..##.", "#####", "..###", "..###", ".####", ".####"]  # by eye, on a drawing of it
    assert ["".join(".#"[kept] for kept in row) for row in grid] == seen
    import openslide

    with openslide.OpenSlide(CMU) as slide:
        scanned = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
    expected = cv2.resize(scanned[:2806, :2004], (250, 350), interpolation=cv2.INTER_AREA)
    for x, y, patch in zip(tiles.xs, tiles.ys, tiles.pixels, strict=True):
        assert (
            np.abs(patch.astype(int) - expected[y - 1 : y + 49, x - 1 : x + 49]).mean() < 3
        )  # one pixel aside makes it 20
