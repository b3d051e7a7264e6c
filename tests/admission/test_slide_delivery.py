"""Slides as deliveries: cut into unlabelled patches, all of them or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import tifffile
from delivering import read_refusals

from bcd.admission.admit import admit
from bcd.admission.naming import Naming
from bcd.admission.plan import plan_admission
from bcd.admission.slides.reading import read_corner
from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId, SlideId
from bcd.store.batches import read_batch_pixels
from bcd.store.complete import list_complete_slides
from bcd.store.delivery_queries import list_stored_refusals
from bcd.store.frames import Frame, SlideFrame, find_stored_frame, store_frames
from bcd.store.hospitals import store_coarse_limit
from bcd.store.patients import list_stored_patches
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EAST = Hospital("east")


def _slide(seed: int = 0, size: int = 400) -> np.ndarray:
    """White glass with a square of stained tissue from (100, 50) to (300, 250), RGB at 4 µm/px."""
    generator = np.random.default_rng(seed)
    slide = np.full((size, size, 3), 240, np.uint8)
    tissue = np.array([200, 110, 170]) + generator.integers(-60, 40, (200, 200, 3))
    slide[50:250, 100:300] = tissue.clip(0, 255)
    return slide


def _write_tiff(path: Path, slide: np.ndarray, spacing: float | None = 4.0) -> Path:
    """Writes a tiled TIFF that says its spacing in µm/px."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said: dict[str, Any] = (
        {} if spacing is None else {"resolution": (1e4 / spacing,) * 2, "resolutionunit": "CENTIMETER"}
    )
    tifffile.imwrite(path, slide, tile=(256, 256), photometric="rgb", compression="zlib", **said)
    return path


def test_a_slide_becomes_the_patches_of_its_tissue(store: Store, tmp_path: Path) -> None:
    path = _write_tiff(tmp_path / "8867_idx5.tif", _slide())
    admission = admit(store, path, EAST, spacing=4.0)
    assert (admission.files, admission.admitted_files, admission.refused) == (1, 1, {})
    assert (admission.admitted, admission.unlabelled) == (16, 16)
    patches = list_stored_patches(store, EAST, PatientId("8867"))
    assert sorted(set(patches["x"])) == [101, 151, 201, 251]
    assert sorted(set(patches["y"])) == [51, 101, 151, 201]
    pixels = read_batch_pixels(store.settings, patches)
    assert np.array_equal(pixels[0], _slide()[50:100, 100:150])


@pytest.mark.parametrize("container", ["as_zip", "as_folder"])
def test_slides_and_patches_and_labels_may_come_together(
    *, store: Store, patch_files, container: str, request, tmp_path: Path
) -> None:
    slide = _write_tiff(tmp_path / "s/9001_idx2.tif", _slide()).read_bytes()
    files = {
        **patch_files("8867"),
        "slides/9001_idx2.tif": slide,
        "labels.csv": b"patient,slide,x,y,label\n9001,2,101,51,1\n",
    }
    admission = admit(store, request.getfixturevalue(container)(files), EAST, spacing=4.0)
    assert (admission.files, admission.admitted_files, admission.admitted) == (6, 6, 20)
    assert (admission.positive, admission.unlabelled) == (3, 15)
    assert not list(store.settings.scratch.rglob("*.tif"))


def test_a_slide_that_does_not_say_its_spacing_is_refused_unless_it_is_given(
    store: Store, patch_files, as_folder
) -> None:
    folder = as_folder(patch_files("8867"))
    cv2.imwrite(str(folder / "9001_idx2.png"), _slide()[..., ::-1])
    first = admit(store, folder, EAST)
    assert first.refused == {"no-spacing": 1}
    [refusal] = list_stored_refusals(store, first.id)
    assert refusal.kept is None  # a slide's label and metadata may name a patient
    cv2.imwrite(str(folder / "9001_idx2.png"), _slide(seed=1)[..., ::-1])
    assert admit(store, folder, EAST, spacing=4.0).admitted == 16


def test_a_white_slide_has_no_tissue(store: Store, tmp_path: Path) -> None:
    path = _write_tiff(tmp_path / "9001.tif", np.full((400, 400, 3), 240, np.uint8))
    with pytest.raises(BcdError, match="no-tissue 1"):
        admit(store, path, EAST, spacing=4.0)
    assert not list(store.settings.batches.iterdir())


def test_a_slide_that_is_damaged_is_refused_whole(store: Store, patch_files, as_folder, tmp_path: Path) -> None:
    folder = as_folder(patch_files("8867"))
    whole = _write_tiff(tmp_path / "9001.tif", _slide(size=2000)).read_bytes()
    (folder / "9001.tif").write_bytes(whole[: len(whole) // 2])
    admission = admit(store, folder, EAST)
    assert (admission.admitted, admission.refused) == (4, {"unreadable": 1})


def test_the_same_slide_again_changes_nothing_and_a_copy_is_refused(store: Store, tmp_path: Path) -> None:
    first = admit(store, _write_tiff(tmp_path / "8867_idx5.tif", _slide()), EAST, spacing=4.0)
    assert admit(store, tmp_path / "8867_idx5.tif", EAST, spacing=4.0).already
    other_bytes = tmp_path / "again/8867_idx5.tif"
    other_bytes.parent.mkdir()
    spacing: dict[str, Any] = {"resolution": (2500, 2500), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(other_bytes, _slide(), tile=(128, 128), photometric="rgb", **spacing)
    again = admit(store, other_bytes, EAST, spacing=4.0)
    assert (again.id == first.id, again.admitted, again.refused) == (False, 0, {"already-admitted": 1})


def test_files_that_belong_to_a_slide_are_not_refused_for_their_names() -> None:
    class Listing:
        names: ClassVar = ["9001/Data0001.dat", "9001/Slidedat.ini", "9001.mrxs", "9002/Data0001.dat"]

        def hazard(self, member: int) -> None:
            return None

    plan = plan_admission(Listing(), Naming(None), waived={}, labels={})  # type: ignore[arg-type]
    assert [(slide.member, slide.companions) for slide in plan.slides] == [(2, [0, 1])]
    assert {member: refusal.rule for member, refusal in plan.refused.items()} == {3: "name"}


def test_a_slide_of_another_name_is_told_which_character_does_not_fit(store: Store, patch_files, as_folder) -> None:
    folder = as_folder(patch_files("8867"))
    _write_tiff(folder / "no_spacing_idx8.tif", _slide())
    rule, message = read_refusals(store, admit(store, folder, EAST))["no_spacing_idx8.tif"]
    assert rule == "name"
    assert all(text in message for text in ('"_"', '"no_spacing"', "slides.csv"))


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp", "tif"])
def test_a_patch_that_is_no_png_is_refused_with_the_reason(store: Store, patch_files, as_folder, suffix: str) -> None:
    name = f"8868_idx5_x51_y51_class0.{suffix}"
    folder = as_folder({**patch_files("8867"), name: b"\xff\xd8\xff\xe0"})
    rule, message = read_refusals(store, admit(store, folder, EAST))[name]
    assert rule == "not-png"
    assert "PNG" in message
    with pytest.raises(BcdError, match="not-png 1"):
        admit(store, folder / name, EAST)


def test_names_may_be_in_upper_case(store: Store, patch_files, as_zip, tmp_path: Path) -> None:
    slide = _write_tiff(tmp_path / "s.tif", _slide(), spacing=1.0).read_bytes()
    names = {name.upper(): data for name, data in patch_files("8867").items()}
    labels = b"patient,slide,x,y,label\n9001,2,1,1,1\n"
    delivery = as_zip({**names, "9001_IDX2.TIF": slide, "LABELS.CSV": labels}, tmp_path / "DELIVERY.ZIP")
    admission = admit(store, delivery, EAST)
    assert (admission.admitted_files, admission.refused, admission.patients) == (6, {}, 2)
    assert admission.positive == 3


def test_the_hospital_may_have_coarse_slides(store: Store, tmp_path: Path) -> None:
    path = _write_tiff(tmp_path / "9001_idx2.tif", _slide(), spacing=4.99)
    with pytest.raises(BcdError, match="no-spacing 1"):
        admit(store, path, EAST)
    store_coarse_limit(store, EAST, 5.0, SignOff("Ada", "a microscope's camera"))
    assert admit(store, path, EAST).admitted_files == 1


def test_a_slide_that_bcd_cut_is_complete_unless_its_patches_are_refused(store: Store, tmp_path: Path) -> None:
    admit(store, _write_tiff(tmp_path / "9001_idx2.tif", _slide(), spacing=1.0), EAST)
    assert list_complete_slides(store) == {(EAST, "9001", "2"): "tiled"}
    again = _write_tiff(tmp_path / "9002_idx3.tif", _slide(), spacing=1.0)  # the same pixels of another patient
    admit(store, again, EAST)
    assert list_complete_slides(store) == {(EAST, "9001", "2"): "tiled"}


def test_where_patches_lie_in_a_slide_that_bcd_cut_is_known_and_of_patches_it_is_not(
    store: Store, tmp_path: Path
) -> None:
    path = _write_tiff(tmp_path / "9001_idx2.tif", _slide(), spacing=1.0)
    admit(store, path, EAST)
    assert find_stored_frame(store, EAST, PatientId("9001"), SlideId("2")) == pytest.approx((1.0, 1.0, 0, 0))
    assert find_stored_frame(store, EAST, PatientId("9001"), SlideId("3")) is None
    again = _write_tiff(tmp_path / "9002_idx3.tif", _slide(), spacing=1.0)  # refused: the same pixels
    admit(store, again, EAST)
    assert find_stored_frame(store, EAST, PatientId("9002"), SlideId("3")) is None


def test_viewers_begin_where_the_file_says_that_the_scan_begins() -> None:
    said = {"openslide.bounds-x": "1200", "openslide.bounds-y": "80"}
    assert read_corner(said) == (1200, 80)
    assert read_corner({}) == (0, 0)


def test_files_of_one_slide_that_differ_in_spacing_have_no_frame(store: Store, tmp_path) -> None:
    admit(store, _write_tiff(tmp_path / "9001_idx2.tif", _slide(), spacing=1.0), EAST)
    one, other = Frame(0.5, 0.5, 0, 0), Frame(0.25, 0.25, 0, 0)
    with store.write() as connection:
        frames = [
            SlideFrame(PatientId("9"), SlideId("1"), one),
            SlideFrame(PatientId("9"), SlideId("1"), other),
            SlideFrame(PatientId("9"), SlideId("2"), one),
        ]
        store_frames(connection, EAST, 1, [*frames, SlideFrame(PatientId("9001"), SlideId("2"), other)])
    assert find_stored_frame(store, EAST, PatientId("9"), SlideId("1")) is None
    assert find_stored_frame(store, EAST, PatientId("9"), SlideId("2")) == one
    assert find_stored_frame(store, EAST, PatientId("9001"), SlideId("2")).spacing_x == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("spacing", "given", "is_told"), [(None, None, True), (None, 1.0, False), (1.0, None, False)]
)
def test_a_slide_that_is_refused_by_its_name_is_told_what_else_it_lacks(
    *, store: Store, tmp_path: Path, spacing: float | None, given: float | None, is_told: bool
) -> None:
    path = _write_tiff(tmp_path / "no_spacing_idx8.tif", _slide(), spacing=spacing)
    with pytest.raises(BcdError, match="name 1") as caught:
        admit(store, path, EAST, spacing=given)
    assert ("in µm per pixel" in str(caught.value)) == is_told


def test_a_slide_without_a_spacing_is_named_with_the_option_in_the_inbox_too(store: Store) -> None:
    path = _write_tiff(store.settings.inbox / EAST / "9001_idx8.tif", _slide(), spacing=None)
    with pytest.raises(BcdError, match=r"9001_idx8\.tif.*--spacing"):
        admit(store, path, EAST)
    reason = (store.settings.set_aside / EAST / "9001_idx8.tif.txt").read_text("utf-8")
    assert "9001_idx8.tif" in reason
    assert "--spacing" in reason
