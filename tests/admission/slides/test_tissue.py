from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from bcd.admission.slides.tiling import holds_tissue, measure_tissue_shares
from bcd.patches import PatchName

BATCHES = Path(__file__).parents[3].parent / "shared/data/batches"


def _patch(colour: tuple[int, int, int], share: float = 1.0) -> np.ndarray:
    patch = np.full((50, 50, 3), (243, 242, 243), np.uint8)
    patch.reshape(-1, 3)[: round(2500 * share)] = colour
    return patch


@pytest.mark.parametrize(
    ("what", "colour"),
    [
        ("eosin", (220, 150, 190)),
        ("pale eosin", (238, 222, 234)),
        ("haematoxylin", (110, 70, 150)),
        ("dense nuclei", (60, 35, 90)),
    ],
)
def test_stained_tissue_is_kept(what: str, colour: tuple[int, int, int]) -> None:
    assert holds_tissue(_patch(colour)[None]).all(), what


@pytest.mark.parametrize(
    ("what", "colour"),
    [
        ("glass", (243, 242, 243)),
        ("bluish glass", (236, 240, 244)),
        ("pinkish glass", (240, 235, 240)),
        ("edge of the coverslip", (120, 120, 118)),
        ("black ink", (20, 20, 22)),
        ("blue ink", (20, 60, 200)),
        ("green ink", (30, 150, 110)),
        ("red ink", (210, 30, 30)),
        ("orange ink", (220, 140, 40)),
        ("not scanned, white", (255, 255, 255)),
        ("not scanned, black", (0, 0, 0)),
    ],
)
def test_glass_edges_and_ink_are_left(what: str, colour: tuple[int, int, int]) -> None:
    assert not holds_tissue(_patch(colour)[None]).any(), what


def test_a_twentieth_of_a_patch_is_enough() -> None:
    patches = np.stack([_patch((220, 150, 190), share) for share in (0, 0.049, 0.05, 0.5)])
    assert measure_tissue_shares(patches) == pytest.approx([0, 0.0488, 0.05, 0.5])
    assert holds_tissue(patches).tolist() == [False, False, True, True]


@pytest.mark.real_data
@pytest.mark.skipif(not BATCHES.exists(), reason=f"needs the development deliveries in {BATCHES}")
def test_the_public_sets_tissue_is_tissue_here() -> None:
    """Its authors kept these patches as tissue: at least 99 % of them pass, and each with a carcinoma."""
    kept, carcinomas = [], []
    with zipfile.ZipFile(BATCHES / "idc-batch-2.zip") as archive:
        for path in archive.namelist():
            pixels = cv2.imdecode(np.frombuffer(archive.read(path), np.uint8), cv2.IMREAD_COLOR_RGB)
            name = PatchName.parse(Path(path).name)
            if name is not None and pixels.shape == (50, 50, 3):
                kept.append(holds_tissue(pixels[None])[0])
                carcinomas.append(name.label == 1)
    assert len(kept) > 3000
    assert np.mean(kept) >= 0.99
    assert all(np.array(kept)[carcinomas])
