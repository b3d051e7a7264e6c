from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib import colormaps

from bcd.scoring.heatmap import (
    COLOUR_MAP,
    TINT,
    VEIL,
    _add_legend,
    blend_heatmap,
    colour_patches,
    draw_heatmap,
    draw_slide,
    outline,
    overlay,
)
from bcd.scoring.mosaic import stitch
from bcd.scoring.options import ScoreOptions
from bcd.scoring.picture import Picture

OPTIONS = ScoreOptions()


@pytest.fixture
def slide(make_patches):
    """Four patches: confidently none, uncertain, exactly at the level, confidently IDC."""
    patches, pixels = make_patches([(0, 0), (2, 0), (1, 2), (3, 2)])
    patches["probability"] = [0.01, 0.6, 0.95, 0.999]
    return stitch(patches, pixels), patches


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def cell(image, mosaic, patch):
    left, top = patch.x - 1 - mosaic.column * 50, patch.y - 1 - mosaic.row * 50
    return image[top : top + 50, left : left + 50]


def test_each_cell_is_coloured_as_the_colour_map_and_its_confidence_say(slide):
    mosaic, scores = slide
    image = colour_patches(mosaic, scores, OPTIONS)
    for patch, share in zip(scores.itertuples(), [TINT, VEIL, 1, 1], strict=True):
        colour = np.array(colormaps[COLOUR_MAP](patch.probability)[:3]) * 255
        alpha = OPTIONS.opacity * share
        expected = alpha * colour + (1 - alpha) * cell(mosaic.image, mosaic, patch)
        assert np.abs(cell(image, mosaic, patch) - expected).max() <= 1  # rounding


def test_benign_tissue_stays_visible_as_it_was_stained(slide):
    mosaic, scores = slide
    before, after = mosaic.image.astype(int), colour_patches(mosaic, scores, OPTIONS).astype(int)
    benign, _, _, idc = (np.abs(cell(after - before, mosaic, patch)).mean() for patch in scores.itertuples())
    assert benign < 15
    assert idc > 30


def test_a_layer_over_the_tissue_is_the_heatmap(slide):
    mosaic, scores = slide
    layer = overlay(scores["probability"].to_numpy(), OPTIONS)
    image = colour_patches(mosaic, scores, OPTIONS)
    assert (layer.shape, layer.dtype) == ((4, 4), np.uint8)
    for patch, (*colour, alpha) in zip(scores.itertuples(), layer.astype(float), strict=True):
        over = alpha / 255 * np.array(colour) + (1 - alpha / 255) * cell(mosaic.image, mosaic, patch)
        assert np.abs(cell(image, mosaic, patch) - over).max() <= 1.5  # rounding, of the opacity too


def test_background_is_not_coloured(slide):
    mosaic, scores = slide
    image = colour_patches(mosaic, scores, OPTIONS)
    background = ~np.repeat(np.repeat(mosaic.present, 50, 0), 50, 1)
    np.testing.assert_array_equal(image[background], mosaic.image[background])
    assert image.shape == mosaic.image.shape
    assert image.dtype == np.uint8


def test_a_score_colours_its_own_patch_and_all_of_it(slide):
    mosaic, scores = slide
    before = colour_patches(mosaic, scores, OPTIONS)
    for index, patch in enumerate(scores.itertuples()):
        probability = scores["probability"].to_numpy().copy()
        probability[index] = 1 - probability[index]
        after = colour_patches(mosaic, scores.assign(probability=probability), OPTIONS)
        changed = (before != after).any(axis=2)
        expected = np.zeros_like(changed)
        cell(expected, mosaic, patch)[:] = True
        np.testing.assert_array_equal(changed, expected)


def test_likely_is_yellow_and_unlikely_blue_in_rgb_order(slide):
    mosaic, scores = slide
    change = colour_patches(mosaic, scores, OPTIONS).astype(int) - mosaic.image
    unlikely, *_, likely = (cell(change, mosaic, patch).mean(axis=(0, 1)) for patch in scores.itertuples())
    assert likely[0] > likely[2] + 40
    assert unlikely[2] > unlikely[0]


def test_lightness_grows_evenly_with_probability():
    linear = (colormaps[COLOUR_MAP](np.linspace(0, 1, 101))[:, :3]) ** 2.2
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(luminance) - 16  # CIE L*
    steps = np.diff(lightness)
    assert steps.min() > 0
    assert steps.max() < 3 * np.median(steps)


def test_an_outline_follows_the_border_of_a_region():
    region = np.zeros((4, 5), bool)
    region[1, 1:3] = True
    edges = {tuple(map(tuple, edge)) for edge in outline(region).tolist()}
    assert edges == {
        ((50, 50), (50, 100)),
        ((150, 50), (150, 100)),
        ((50, 50), (100, 50)),
        ((100, 50), (150, 50)),
        ((50, 100), (100, 100)),
        ((100, 100), (150, 100)),
    }


def test_slide_and_heatmap_lie_at_the_same_place_pixel_by_pixel(slide, tmp_path):
    mosaic, scores = slide
    draw_slide(mosaic, OPTIONS, title="Slide", path=tmp_path / "slide.png")
    draw_heatmap(mosaic, scores, OPTIONS, title="Heatmap", path=tmp_path / "heatmap.png")
    plain, heat = read(tmp_path / "slide.png"), read(tmp_path / "heatmap.png")
    assert plain.shape == heat.shape
    left, top, right, bottom = Picture(mosaic.image, title="", longest_edge=2000).box
    enlarged = 1000 // max(mosaic.image.shape)
    for picture, image in [(plain, mosaic.image), (heat, colour_patches(mosaic, scores, OPTIONS))]:
        shown = np.repeat(np.repeat(image, enlarged, 0), enlarged, 1)
        np.testing.assert_array_equal(picture[top:bottom, left:right], shown)


def test_a_labelled_region_is_outlined_on_its_border(slide, tmp_path):
    mosaic, scores = slide
    scores["label"] = np.array([0, 1, 0, 0])
    scores["label"] = scores["label"].astype("Int8")
    draw_heatmap(mosaic, scores, OPTIONS, title="Heatmap", path=tmp_path / "heatmap.png")
    left, top, right, bottom = Picture(mosaic.image, title="", longest_edge=2000).box
    image = read(tmp_path / "heatmap.png")[top:bottom, left:right].astype(int)
    magenta = (image[..., 0] > 150) & (image[..., 1] < 90) & (image[..., 2] > 60)
    rows, columns = np.nonzero(magenta)
    enlarged = 1000 // max(mosaic.image.shape)
    patch = scores.iloc[1]
    x, y = (patch["x"] - 1 - mosaic.column * 50) * enlarged, (patch["y"] - 1 - mosaic.row * 50) * enlarged
    assert abs(columns.min() - x) < 5
    assert abs(columns.max() - x - 50 * enlarged) < 5
    assert abs(rows.min() - y) < 5
    assert abs(rows.max() - y - 50 * enlarged) < 5
    assert not magenta[y + 20 : y + 50 * enlarged - 20, x + 20 : x + 50 * enlarged - 20].any()


def test_the_scale_bar_has_the_length_it_names(slide):
    mosaic, _ = slide
    picture = Picture(mosaic.image, title="", longest_edge=2000)
    figure = picture._figure
    named = [text.get_text() for text in figure.texts if text.get_text().endswith(("µm", "mm"))]
    assert named == ["200 µm"]  # 300 px wide, of which a quarter is 75 px = 300 µm
    bar = figure.axes[1].get_window_extent()
    assert bar.width == pytest.approx(200 / 4 * picture.scale)


def test_the_legend_shows_the_colours_that_the_patches_have(slide, tmp_path):
    mosaic, scores = slide
    draw_slide(mosaic, OPTIONS, title="Slide", path=tmp_path / "slide.png")
    draw_heatmap(mosaic, scores, OPTIONS, title="Heatmap", path=tmp_path / "heatmap.png")
    _, _, _, bottom = Picture(mosaic.image, title="", longest_edge=2000).box
    beneath = read(tmp_path / "heatmap.png")[bottom:].astype(int)
    tissue = np.rint(mosaic.image[np.repeat(np.repeat(mosaic.present, 50, 0), 50, 1)].mean(axis=0)).astype(np.uint8)
    probability = np.linspace(0.0005, 0.9995, 1000)
    expected = blend_heatmap(np.broadcast_to(tissue, (1000, 1, 3)), probability, OPTIONS)[:, 0].astype(int)
    bar = beneath[(beneath.max(axis=2) - beneath.min(axis=2)).sum(axis=1).argmax()]
    full, every = (
        (np.abs(bar[:, None] - shown).max(axis=2).min(axis=1) <= 1).sum() for shown in (expected[950:], expected)
    )
    assert 0.04 < full / every < 0.06  # from .95 on the colour is full
    plain = read(tmp_path / "slide.png")[bottom:].astype(int)
    assert (plain.max(axis=2) - plain.min(axis=2)).max() == 0


@pytest.mark.parametrize(("cells", "expected"), [([(0, 0), (60, 20)], 800), ([(0, 0), (5, 60)], 800)])
def test_a_large_slide_is_reduced_to_the_longest_edge(make_patches, cells, expected):
    patches, pixels = make_patches(cells)
    left, top, right, bottom = Picture(stitch(patches, pixels).image, title="", longest_edge=800).box
    assert max(right - left, bottom - top) == expected


def test_a_title_is_never_read_as_mathematics(slide, tmp_path):
    mosaic, _ = slide
    draw_slide(mosaic, OPTIONS, title=r"Patient $\frac$", path=tmp_path / "slide.png")
    assert (tmp_path / "slide.png").stat().st_size > 0


@pytest.mark.parametrize("cells", [[(0, 0), (2, 70)], [(0, 0)], [(0, 0), (70, 2)]])
def test_title_legend_and_scale_fit_whatever_the_slide_is_like(make_patches, cells):
    patches, pixels = make_patches(cells)
    title = f"Patient {'hospital' * 8}/{'patient9' * 8}, slide 123456, scored by bcd-idc/123"
    picture = Picture(stitch(patches, pixels).image, title=title, longest_edge=2000)
    _add_legend(picture, np.array([200.0, 150.0, 180.0]), OPTIONS)
    picture.add_key("labelled IDC region", colour="red")
    figure = picture._figure
    figure.draw_without_rendering()
    whole = figure.bbox
    boxes = [text.get_window_extent() for text in figure.texts] + [axes.get_tightbbox() for axes in figure.axes]
    for box in boxes:
        assert whole.x0 <= box.x0 + 1
        assert box.x1 <= whole.x1 + 1
        assert whole.y0 <= box.y0 + 1
        assert box.y1 <= whole.y1 + 1
    overlaps = [
        (one, other)
        for index, one in enumerate(boxes)
        for other in boxes[index + 1 :]
        if one.x0 + 1 < other.x1 and other.x0 + 1 < one.x1 and one.y0 + 1 < other.y1 and other.y0 + 1 < one.y1
    ]
    assert not overlaps
