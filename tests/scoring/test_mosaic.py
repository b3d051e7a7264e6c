from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcd.errors import BcdError
from bcd.patches import PatchName
from bcd.scoring.mosaic import BACKGROUND, stitch

DELIVERY = Path(__file__).parents[2].parent / "shared/data/batches/idc-batch-1.zip"
CELLS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=20, unique=True)


def test_every_pixel_of_a_known_pattern_lies_where_its_name_says(make_patches):
    patches, pixels = make_patches([(2, 1), (4, 1), (3, 3), (6, 4)])
    mosaic = stitch(patches, pixels)

    expected = np.empty((6 * 50, 7 * 50, 3), np.uint8)
    expected[:] = BACKGROUND
    for x, y, patch in zip(patches["x"], patches["y"], pixels, strict=True):
        left, top = x - 1 - 1 * 50, y - 1 - 0 * 50  # the tissue starts at cell (2, 1), the margin one cell before
        expected[top : top + 50, left : left + 50] = patch
    np.testing.assert_array_equal(mosaic.image, expected)
    assert (mosaic.column, mosaic.row) == (1, 0)


def test_x_is_the_column_and_y_the_row(make_patches):
    patches, pixels = make_patches([(0, 0), (3, 0)])
    assert stitch(patches, pixels).present.shape == (3, 6)


def test_a_red_patch_stays_red():
    patches = pd.DataFrame({"slide": ["5"], "x": [1], "y": [1]})
    red = np.full((1, 50, 50, 3), (255, 0, 0), np.uint8)
    assert stitch(patches, red).image[75, 75].tolist() == [255, 0, 0]


def test_the_canvas_comes_from_the_data_wherever_the_tissue_lies(make_patches):
    near, pixels = make_patches([(0, 0), (1, 2)])
    far = near.assign(x=near["x"] + 50 * 400, y=near["y"] + 50 * 300)
    np.testing.assert_array_equal(stitch(near, pixels).image, stitch(far, pixels).image)
    assert (stitch(near, pixels).column, stitch(far, pixels).row) == (-1, 299)


@settings(max_examples=25, deadline=None)
@given(cells=CELLS, seed=st.integers(0, 100))
def test_each_patch_is_found_back_and_everything_else_is_background(cells, seed):
    patches = pd.DataFrame({"slide": "5", "x": [50 * c + 1 for c, _ in cells], "y": [50 * r + 1 for _, r in cells]})
    pixels = np.random.default_rng(seed).integers(0, 200, (len(cells), 50, 50, 3), dtype=np.uint8)
    mosaic = stitch(patches, pixels)
    rest = np.ones(mosaic.image.shape[:2], bool)
    for patch, row, column in zip(pixels, *mosaic.cells(patches), strict=True):
        here = np.s_[row * 50 : row * 50 + 50, column * 50 : column * 50 + 50]
        assert (mosaic.image[here] == patch).all()
        rest[here] = False
    assert (mosaic.image[rest] == BACKGROUND).all()
    assert mosaic.present.sum() == len(cells)
    edge = np.concatenate([mosaic.present[[0, -1]].ravel(), mosaic.present[:, [0, -1]].ravel()])
    assert not edge.any()


def test_patches_too_far_apart_to_be_one_slide_are_refused_in_a_sentence(make_patches):
    patches, pixels = make_patches([(0, 0), (190_000, 190_000)])
    with pytest.raises(BcdError, match=r"\b5\b.*\b9,500,150 x 9,500,150\b"):
        stitch(patches, pixels)


@pytest.mark.real_data
@pytest.mark.skipif(not DELIVERY.exists(), reason="shared/data/batches is absent")
def test_real_tissue_runs_on_across_the_seams():
    mosaic = stitch(*_read_patient("8867"))
    image = mosaic.image.astype(np.float32)
    right = mosaic.present[:, :-1] & mosaic.present[:, 1:]
    below = mosaic.present[:-1] & mosaic.present[1:]
    across = np.abs(image[:, 49:-1:50] - image[:, 50::50]).mean(axis=2).reshape(len(right), 50, -1).mean(axis=1)
    down = np.abs(image[49:-1:50] - image[50::50]).mean(axis=2).reshape(len(below), -1, 50).mean(axis=2)
    # A seam is a step of one pixel like any other; swapped axes or mixed-up patches make it far larger.
    tissue = np.repeat(np.repeat(mosaic.present, 50, 0), 50, 1)
    step = np.abs(np.diff(image, axis=1)).mean(axis=2)[tissue[:, :-1] & tissue[:, 1:]].mean()
    assert across[right].mean() < 1.3 * step
    assert down[below].mean() < 1.3 * step


def _read_patient(patient):
    import cv2

    rows, pixels = [], []
    with zipfile.ZipFile(DELIVERY) as delivery:
        for file in delivery.namelist():
            name = PatchName.parse(file.rpartition("/")[2])
            if name is None or name.patient != patient or not re.search(r"\.png$", file):
                continue
            image = cv2.imdecode(np.frombuffer(delivery.read(file), np.uint8), cv2.IMREAD_COLOR)
            if image.shape == (50, 50, 3):
                rows.append({"slide": name.slide, "x": name.x, "y": name.y})
                pixels.append(image[..., ::-1])
    return pd.DataFrame(rows), np.stack(pixels)
