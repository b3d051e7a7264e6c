"""What admission stores of a slide: means over areas of 4 µm, whatever the slide's spacing and format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from bcd.admission.admit import admit
from bcd.patches import Hospital, PatientId
from bcd.store.batches import read_batch_pixels
from bcd.store.patients import list_stored_patches

EAST = Hospital("east")
SPACINGS = [0.12, 0.25, 0.35, 0.5, 0.54, 0.56, 1.0, 2.0, 4.0]
CMU = Path(__file__).parents[3].parent / "shared/data/slides/cmu_small_region.svs"


@pytest.fixture
def admitted_pixels(store) -> Callable[..., tuple[np.ndarray, int]]:
    """Admits a slide of patient 1; returns it at 4 µm/px, NaN where no patch is, and its number of patches."""

    def admit_slide(path: Path, shape: tuple[int, ...], spacing: float | None = None) -> tuple[np.ndarray, int]:
        admission = admit(store, path, EAST, spacing=spacing)
        assert (admission.admitted_files, admission.refused) == (1, {})
        patches = list_stored_patches(store, EAST, PatientId("1"))
        picture = np.full(shape, np.nan)
        for x, y, patch in zip(patches["x"], patches["y"], read_batch_pixels(store.settings, patches), strict=True):
            picture[y - 1 : y + 49, x - 1 : x + 49] = patch
        return picture, admission.admitted

    return admit_slide


def _scan(spacing: float, across: int, down: int) -> np.ndarray:
    """A stained slide of so many patches and some pixels more, with detail of every size from its own pixel up."""
    generator = np.random.default_rng(round(1000 * spacing))
    height, width = (int(n * 200 / spacing) + 9 for n in (down, across))
    layers = []
    for step in (1, 7, max(1, round(60 / spacing))):
        coarse = generator.integers(0, 80, (height // step + 1, width // step + 1, 3), dtype=np.uint8)
        layers.append(coarse.repeat(step, 0).repeat(step, 1)[:height, :width])
    slide = layers[0] + layers[1] + layers[2]
    slide[..., 1] //= 3
    return slide


def _levels(slide: np.ndarray, *steps: int) -> list[np.ndarray]:
    """Coarser levels as scanners write them: each the mean over blocks of the one before, rounded."""
    made = [slide]
    for step in steps:
        height, width = made[-1].shape[0] // step, made[-1].shape[1] // step
        blocks = made[-1][: height * step, : width * step].reshape(height, step, width, step, 3)
        made.append(np.rint(blocks.mean((1, 3))).astype(np.uint8))
    return made[1:]


@pytest.mark.parametrize("steps", [(), (2, 2, 2), (4, 4)], ids=["one level", "by twos", "by fours"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_slide_is_averaged_over_areas_at_any_spacing(
    *, as_slide, admitted_pixels, area_average, spacing: float, steps: tuple[int, ...]
) -> None:
    slide = _scan(spacing, 2, 1)
    expected = area_average(slide, (spacing, spacing))
    picture, admitted = admitted_pixels(
        as_slide(slide, *_levels(slide, *steps), spacing=spacing), expected.shape, spacing
    )
    assert admitted == 2
    assert np.nanmax(np.abs(picture - expected)) <= 1


@pytest.mark.parametrize("spacing", SPACINGS)
def test_a_slide_of_jpeg_is_averaged_over_areas_at_any_spacing(
    tmp_path: Path, admitted_pixels, area_average, spacing: float
) -> None:
    slide = cv2.GaussianBlur(_scan(spacing, 2, 1), (0, 0), 1)
    decoded = _write_jpeg_tiles(tmp_path / "1_idx1.tif", slide, spacing)
    expected = area_average(decoded, (spacing, spacing))
    picture, admitted = admitted_pixels(tmp_path / "1_idx1.tif", expected.shape, spacing)
    assert admitted == 2
    assert np.nanmax(np.abs(picture - expected)) <= 1


@pytest.mark.parametrize("tiled", [True, False], ids=["tiles", "strips"])
@pytest.mark.parametrize("planar", [False, True], ids=["pixel by pixel", "planes"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_is_read_however_its_samples_are_stored(
    *, tmp_path: Path, admitted_pixels, area_average, tiled: bool, planar: bool, bits: int, compression: str | None
) -> None:
    slide = _scan(0.5, 2, 1)
    samples = slide if bits == 8 else slide.astype(np.uint16) * 257
    tifffile.imwrite(
        tmp_path / "1_idx1.tif",
        np.moveaxis(samples, 2, 0) if planar else samples,
        planarconfig="separate" if planar else "contig",
        photometric="rgb",
        compression=compression,
        metadata=None,
        **({"tile": (64, 64)} if tiled else {"rowsperstrip": 16}),
    )
    expected = area_average(slide, (0.5, 0.5))
    picture, admitted = admitted_pixels(tmp_path / "1_idx1.tif", expected.shape, spacing=0.5)
    assert admitted == 2
    assert np.nanmax(np.abs(picture - expected)) <= 1


@pytest.mark.parametrize("spacing", [0.25, 0.5, 1.0])
def test_a_dicom_of_one_level_is_averaged_over_areas(
    tmp_path: Path, as_dicom, admitted_pixels, area_average, spacing: float
) -> None:
    slide = _scan(spacing, 1, 2)
    delivery = tmp_path / "delivery"
    delivery.mkdir()
    as_dicom(slide, spacing=spacing).parent.rename(delivery / "1_idx1")
    expected = area_average(slide, (spacing, spacing))
    picture, admitted = admitted_pixels(delivery, expected.shape)
    assert admitted == 2
    assert np.nanmax(np.abs(picture - expected)) <= 1


@pytest.mark.real_data
@pytest.mark.skipif(not CMU.exists(), reason=f"needs the development slide {CMU}")
def test_a_real_slide_is_averaged_over_areas(tmp_path: Path, admitted_pixels, area_average) -> None:
    import openslide

    (tmp_path / "1_idx1.svs").write_bytes(CMU.read_bytes())
    with openslide.OpenSlide(CMU) as slide:
        scanned = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
    expected = area_average(scanned, (0.499, 0.499))
    picture, admitted = admitted_pixels(tmp_path / "1_idx1.svs", expected.shape)
    assert admitted == 23
    assert np.nanmax(np.abs(picture - expected)) <= 1


def _write_jpeg_tiles(path: Path, slide: np.ndarray, spacing: float) -> np.ndarray:
    """Writes a TIFF tiled in JPEG, and returns what OpenCV reads in its tiles."""
    edge, (height, width) = 256, slide.shape[:2]
    padded = np.pad(slide, ((0, -height % edge), (0, -width % edge), (0, 0)), "edge")
    decoded, tiles = np.empty_like(padded), []
    for y in range(0, height, edge):
        for x in range(0, width, edge):
            here = slice(y, y + edge), slice(x, x + edge)
            tiles.append(cv2.imencode(".jpg", padded[here][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
            decoded[here] = cv2.imdecode(tiles[-1], cv2.IMREAD_COLOR_RGB)
    # tifffile takes tiles that are compressed already, but only as what it can compress.
    tifffile.imwrite(
        path,
        (tile.tobytes() for tile in tiles),
        shape=slide.shape,
        dtype=np.uint8,
        tile=(edge, edge),
        photometric="rgb",
        compression="zlib",
        metadata=None,
        resolution=(1e4 / spacing, 1e4 / spacing),
        resolutionunit="CENTIMETER",
        extratags=[(530, 3, 2, (2, 2), True)],  # YCbCrSubSampling
    )
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["Compression"].overwrite(7)
        file.pages[0].tags["PhotometricInterpretation"].overwrite(6)
    return decoded[:height, :width]
