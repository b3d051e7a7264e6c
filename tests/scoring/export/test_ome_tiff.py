"""The files as the format is documented (OME-TIFF 6.0, "sub-resolutions"), read back by tifffile and OpenSlide."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import ome_types
import openslide
import pytest
from tifffile import TiffFile

from bcd.admission.admit import admit
from bcd.drift.state import UNTRUSTED, Drift
from bcd.errors import BcdError
from bcd.evaluation.policy.calibration import Calibrator
from bcd.evaluation.policy.policy import Policy
from bcd.patches import Hospital
from bcd.scoring.export.formats import write_ome_beside_report
from bcd.scoring.export.ome_tiff import write_ome_tiffs
from bcd.scoring.export.pyramid import TILE, Pyramid
from bcd.scoring.geojson import write_geojson
from bcd.scoring.heatmap import blend_heatmap
from bcd.store.frames import Frame
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff


def levels_of(path) -> list[np.ndarray]:
    with TiffFile(path) as file:
        return [level.asarray() for level in file.series[0].levels]


def test_each_slide_leaves_slide_and_heatmap_of_one_geometry(scored, tmp_path) -> None:
    paths = list(write_ome_tiffs(tmp_path / "new", scored(["5", "11"])))
    names = [f"{kind}-{slide}.ome.tiff" for slide in ("5", "11") for kind in ("slide", "heatmap")]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    assert len({tuple(level.shape for level in levels_of(path)) for path in paths}) == 1


def test_the_file_is_an_ome_tiff_whose_sub_resolutions_lie_in_sub_ifds(scored, tmp_path) -> None:
    for path in write_ome_tiffs(tmp_path, scored()):
        with TiffFile(path) as file:
            assert (file.is_ome, file.is_bigtiff, len(file.pages), len(file.series)) == (True, True, 1, 1)
            assert [level.shape for level in file.series[0].levels] == [(900, 600, 3), (450, 300, 3), (225, 150, 3)]
            page = file.pages[0]
            assert len(page.subifds) == 2
            for number, level in enumerate([page, *page.pages]):
                assert (level.is_tiled, level.tile, level.is_reduced) == (True, (TILE, TILE), number > 0)
                assert (level.compression.name, level.photometric.name) == ("ADOBE_DEFLATE", "RGB")
            ome_types.validate_xml(file.ome_metadata)  # by the schema 2016-06
            (image,) = ome_types.from_xml(file.ome_metadata).images
        pixels = image.pixels
        assert (pixels.size_x, pixels.size_y, pixels.size_c, pixels.type.value) == (600, 900, 3, "uint8")
        assert (pixels.physical_size_x, pixels.physical_size_x_unit.value) == (4.0, "µm")
        assert (pixels.physical_size_y, pixels.physical_size_y_unit.value) == (4.0, "µm")
        assert ("east/1001, slide 5" in image.name, "Research use only" in image.description) == (True, True)


def test_a_patch_lies_where_its_geojson_lies_and_the_rest_is_white(scored, tmp_path) -> None:
    found = scored()
    slide, heatmap = (levels_of(path)[0] for path in write_ome_tiffs(tmp_path, found))
    policy = Policy(calibrator=Calibrator(slope=1.0, intercept=0.0), levels=(0.95,))
    write_geojson(tmp_path / "patches", found.scores, frame=None, bundle="b", level=0.95, policy=policy)
    features = json.loads((tmp_path / "patches").read_text())["features"]
    pixels, probability = found.read(found.scores), found.scores["probability"].to_numpy()
    coloured = blend_heatmap(pixels, probability, found.options)
    assert len(features) == len(pixels)
    for feature, patch, colours in zip(features, pixels, coloured, strict=True):
        (left, top), _, (right, bottom), *_ = feature["geometry"]["coordinates"][0]
        np.testing.assert_array_equal(slide[top:bottom, left:right], patch)
        np.testing.assert_array_equal(heatmap[top:bottom, left:right], colours)
        slide[top:bottom, left:right] = heatmap[top:bottom, left:right] = 255
    assert (slide.min(), heatmap.min()) == (255, 255)


def test_a_level_halves_the_one_before_it(scored, tmp_path) -> None:
    for path in write_ome_tiffs(tmp_path, scored()):
        finer, *others = levels_of(path)
        for level in others:
            height, width = level.shape[:2]
            means = finer[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
            assert np.abs(level - means).max() <= 0.5
            finer = level


def test_a_heatmap_that_is_not_to_be_relied_on_says_so(scored, tmp_path) -> None:
    patient = replace(scored(), drift=Drift(level=UNTRUSTED, foreign=False))
    for path in write_ome_tiffs(tmp_path, patient):
        with TiffFile(path) as file:
            (image,) = ome_types.from_xml(file.ome_metadata).images
        assert image.description.startswith(patient.caution) == path.name.startswith("heatmap")


def test_openslide_reads_it_and_admission_knows_it_for_bcd_s_own(store, scored, tmp_path) -> None:
    found = scored()
    paths = list(write_ome_tiffs(tmp_path / "1001_idx6", found))
    with openslide.OpenSlide(paths[0]) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(4)
        read = np.asarray(slide.read_region((450, 150), 0, (50, 50)))[..., :3]
    np.testing.assert_array_equal(read, found.read(found.scores[found.scores["x"] == 451])[0])
    declare_hospital(store, "west", "pseudonyms", SignOff("Mary", "test"))
    with pytest.raises(BcdError, match="own-picture 2"):
        admit(store, tmp_path / "1001_idx6", Hospital("west"))


def test_the_same_again_is_the_same_bytes_over_what_is_there(scored, tmp_path) -> None:
    found = scored()
    first = [path.read_bytes() for path in write_ome_tiffs(tmp_path, found)]
    assert [path.read_bytes() for path in write_ome_tiffs(tmp_path, found)] == first
    assert len(list(tmp_path.glob("*.tiff"))) == 2


def test_what_fails_midway_leaves_no_file(scored, tmp_path) -> None:
    found, reads = scored(), []

    def read(rows):
        reads.append(len(rows))
        if len(reads) == 3:
            raise OSError("no more")
        return found.read(rows)

    with pytest.raises(OSError, match="no more"):
        list(write_ome_tiffs(tmp_path / "new", replace(found, read=read)))
    assert list((tmp_path / "new").iterdir()) == []


def test_a_slide_that_bcd_cut_is_not_written_since_its_pixels_are_others(scored, tmp_path) -> None:
    found = replace(scored(["5", "11"]), frames={"5": Frame(0.5, 0.5, 0, 0)})
    with pytest.raises(BcdError, match=r"Slide 5 .*patches-5\.geojson"):
        list(write_ome_tiffs(tmp_path / "new", found))
    assert not (tmp_path / "new").exists()
    assert len(list(write_ome_tiffs(tmp_path / "new", found.choose(["11"])))) == 2


def test_beside_the_report_only_slides_that_were_delivered_as_patches_are_written(scored, tmp_path) -> None:
    found = scored(["5", "11"])
    for cut, names in (("5", {"slide-11.ome.tiff", "heatmap-11.ome.tiff"}), ("5 11", set())):
        folder = tmp_path / cut
        folder.mkdir()
        frames = {slide: Frame(0.5, 0.5, 0, 0) for slide in cut.split()}
        write_ome_beside_report(folder, replace(found, frames=frames))
        assert {path.name for path in folder.iterdir()} == names


def test_a_slide_is_never_read_as_a_whole(make_patches) -> None:
    patches, pixels = make_patches([(column, row) for row in range(20) for column in range(20)])
    reads = []

    def read(rows):
        reads.append(len(rows))
        return pixels[rows.index]

    pyramid = Pyramid(patches, read)
    assert pyramid.sizes == [(1000, 1000), (500, 500), (250, 250)]
    assert [sum(1 for _ in pyramid.tiles(level)) for level in range(3)] == [9, 4, 1]
    assert max(reads) == 64
    assert sum(reads) == 3 * 400


@pytest.mark.parametrize(("across", "levels"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 3)])
def test_the_coarsest_level_is_one_tile(make_patches, across: int, levels: int) -> None:
    patches, pixels = make_patches([(0, 0), (across - 1, 0)])
    pyramid = Pyramid(patches, lambda rows: pixels[rows.index])
    assert len(pyramid.sizes) == levels
    assert len(list(pyramid.tiles(levels - 1))) == 1


def test_patches_too_far_apart_are_refused(make_patches) -> None:
    patches, pixels = make_patches([(0, 0), (40_000, 40_000)])
    with pytest.raises(BcdError, match="Slide 5"):
        Pyramid(patches, lambda rows: pixels[rows.index])
