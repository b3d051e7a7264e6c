"""Slides that a table beside them declares, for names that are not bcd's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from delivering import read_refusals

from bcd.admission.admit import Admission, admit
from bcd.admission.preview import look_at
from bcd.errors import BcdError
from bcd.patches import Hospital
from bcd.store.complete import list_complete_slides
from bcd.store.hospitals import declare_hospital
from bcd.store.patients import list_patients
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EAST = Hospital("east")
TCGA = "TCGA-A1-A0SK-01Z-00-DX1.4F1B2C3D.svs"


@pytest.fixture(scope="session")
def slide() -> Callable[..., bytes]:
    """Makes a stained slide of 2 patches."""

    def make(folder: Path, seed: int, spacing: float | None = 0.5) -> bytes:
        generator = np.random.default_rng(seed)
        pixels = np.array([200, 110, 170]) + generator.integers(-60, 40, (100, 200, 3))
        large = pixels.clip(0, 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        said = {} if spacing is None else {"resolution": (1e4 / spacing,) * 2, "resolutionunit": "CENTIMETER"}
        path = folder / "slide.tif"
        tifffile.imwrite(path, large, tile=(64, 64), photometric="rgb", compression="zlib", **said)
        return path.read_bytes()

    return make


@pytest.fixture
def handed_over(store: Store, as_folder, tmp_path: Path) -> Callable[..., Admission]:
    def hand_over(files: dict[str, bytes], hospital: str = EAST) -> Admission:
        number = len(list(tmp_path.glob("delivery-*")))
        return admit(store, as_folder(files, tmp_path / f"delivery-{number}"), Hospital(hospital))

    return hand_over


def _patients(store: Store) -> set[str]:
    return set(list_patients(store)["patient"])


@pytest.mark.parametrize("table", ["slides.csv", "Slides.TSV", "slides.txt"])
def test_slides_of_any_name_are_whose_the_table_says(
    store: Store, handed_over, slide, tmp_path: Path, table: str
) -> None:
    rows = [["File", "Patient", "Slide"], [TCGA, "TCGA-A1-A0SK", "1"], ["patient_004_node_4.tif", "C-004", "4.0"]]
    separator = "," if table == "slides.csv" else "\t"
    admission = handed_over(
        {
            f"images/{TCGA.upper()}": slide(tmp_path, 1),
            "images/patient_004_node_4.tif": slide(tmp_path, 2),
            table: "\n".join(map(separator.join, rows)).encode(),
        }
    )
    assert (admission.admitted_files, admission.refused, admission.admitted) == (3, {}, 4)
    assert _patients(store) == {"TCGA-A1-A0SK", "C-004"}
    assert list_complete_slides(store) == {(EAST, "TCGA-A1-A0SK", "1"): "tiled", (EAST, "C-004", "4"): "tiled"}


def test_a_row_says_spacing_and_whether_a_slide_is_complete(store: Store, handed_over, slide, tmp_path: Path) -> None:
    admission = handed_over(
        {
            "a.tif": slide(tmp_path, 1, None),
            "b.tif": slide(tmp_path, 2, 2.0),
            "IMG_0012.png": b"",
            "slides.csv": b"file,patient,slide,spacing,complete\n"
            b"a.tif,A,1,0.5,no\nb.tif,B,1,2.0,yes\nIMG_0012.png,C,,0.5,\n",
        }
    )
    assert admission.refused == {"unreadable": 1}  # it is taken for a slide, which it is not
    assert admission.admitted == 2 + 32
    assert list_complete_slides(store) == {(EAST, "B", "1"): "tiled"}


def test_patches_are_complete_where_a_row_without_a_file_says_so(store: Store, handed_over, patch_files) -> None:
    table = b"file,patient,slide,complete\n,8867,5,1\n"
    admission = handed_over({**patch_files("8867", "8868"), "slides.csv": table})
    assert (admission.admitted_files, admission.refused) == (9, {})
    assert list_complete_slides(store) == {(EAST, "8867", "5"): "declared"}


def test_slides_that_are_declared_complete_and_are_not_in_the_delivery_are_told(
    store: Store, handed_over, slide, patch_files, tmp_path: Path
) -> None:
    """What it says of patches that came before, or come later, would be lost."""
    rows = ["lost.tif,A,1,", "9001_idx2.tif,9001,2,", ",8867,5,1", ",9001,2,1", ",9999,5,1", ",8867,6,1"]
    table = "\n".join(["file,patient,slide,complete", *rows]).encode()
    admission = handed_over({**patch_files("8867"), "9001_idx2.tif": slide(tmp_path, 1), "slides.csv": table})
    assert admission.refused == {"slides-file": 1}
    message = read_refusals(store, admission)["slides.csv"][1]
    assert re.findall(r"\d+ slide \d+", message) == ["8867 slide 6", "9999 slide 5"]
    assert "lost.tif (line 2)" in message
    assert list_complete_slides(store) == {(EAST, "8867", "5"): "declared", (EAST, "9001", "2"): "tiled"}


def test_rows_without_a_file_are_told_and_the_others_count(store: Store, handed_over, slide, tmp_path: Path) -> None:
    table = b"file,patient,slide\na.tif,A,1\nlost.tif,B,1\n"
    admission = handed_over({"a.tif": slide(tmp_path, 1), "9001.tif": slide(tmp_path, 2), "slides.csv": table})
    assert admission.refused == {"slides-file": 1}
    assert re.findall(r"\d+ of the \d+", read_refusals(store, admission)["slides.csv"][1]) == ["1 of the 2"]
    assert "lost.tif (line 3)" in read_refusals(store, admission)["slides.csv"][1]
    assert _patients(store) == {"A", "9001"}  # the slide without a row goes by its own name


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("file,patient\n8867.tif,A\n", "slide; it has file, patient"),
        ("file,patient,slide\n8867.tif,A 1,1\n", '"A 1"'),
        ("file,patient,slide\n8867.tif,A,x\n", 'line 2: the slide "x"'),
        ("file,patient,slide,spacing\n8867.tif,A,1,fine\n", 'line 2: the spacing "fine"'),
        ("file,patient,slide,complete\n8867.tif,A,1,perhaps\n", '"perhaps"'),
        ("file,patient,slide\n8867.tif,A,1\n8867.TIF,B,1\n", "Lines 2 and 3 of slides.csv"),
        ("file,patient,slide\n,A,1\n", "line 2: it names no file"),
        ("file,patient,slide\nlost.tif,A,1\n", "1 of the 1 rows of slides.csv"),
    ],
)
def test_no_slide_is_admitted_beside_a_table_that_cannot_be_believed(
    *, store: Store, handed_over, slide, patch_files, tmp_path: Path, table: str, words: str
) -> None:
    files = {**patch_files("8868"), "8867.tif": slide(tmp_path, 1), "slides.csv": table.encode()}
    admission = handed_over(files)
    assert (admission.admitted, admission.refused) == (4, {"slides-file": 2})
    messages = read_refusals(store, admission)
    assert words in messages["slides.csv"][1]
    assert words in messages["8867.tif"][1]


def test_a_file_name_that_two_slides_have_needs_its_path(store: Store, handed_over, slide, tmp_path: Path) -> None:
    slides = {"a/1.tif": slide(tmp_path, 1), "b/1.tif": slide(tmp_path, 2)}
    with pytest.raises(BcdError, match="slides-file"):
        handed_over({**slides, "slides.csv": b"file,patient,slide\n1.tif,A,1\n"})
    table = rb"file,patient,slide" b"\n" rb"a\1.tif,A,1" b"\n" rb"D:\scans\b\1.tif,B,1" b"\n"
    assert handed_over({**slides, "slides.csv": table}).admitted_files == 3
    assert _patients(store) == {"A", "B"}


def test_a_raw_hospital_s_table_is_quoted_nowhere(store: Store, handed_over, slide, tmp_path: Path) -> None:
    declare_hospital(store, "north", "raw", SignOff("test", "test"))
    table = b"file,patient,slide\nErika Mustermann.tif,MRN-1,1\nJohn Doe.tif,MRN-2,1\n"
    admission = handed_over({"Erika Mustermann.tif": slide(tmp_path, 1), "slides.csv": table}, "north")
    assert (admission.admitted, admission.refused) == (2, {"slides-file": 1})
    [(name, (_, message))] = read_refusals(store, admission).items()
    assert not any(word in name + message for word in ("Erika", "John", "MRN"))
    [(_, patient, slide_id)] = list_complete_slides(store)
    assert (patient in _patients(store), slide_id, "MRN" in patient) == (True, "1", False)


def test_a_spreadsheet_is_refused_with_the_way_to_save_it(
    store: Store, handed_over, slide, patch_files, tmp_path: Path
) -> None:
    spreadsheet = b"PK\x03\x04" + bytes(100)
    admission = handed_over({**patch_files("8868"), "8867.tif": slide(tmp_path, 1), "slides.xlsx": spreadsheet})
    assert (admission.admitted, admission.refused) == (4, {"slides-file": 2})
    assert "CSV" in read_refusals(store, admission)["slides.xlsx"][1]


def test_a_table_is_of_the_slides_in_its_folder(store: Store, handed_over, slide, tmp_path: Path) -> None:
    files = {f"{folder}/1.tif": slide(tmp_path, number) for number, folder in enumerate("ab")}
    files |= {f"{folder}/slides.csv": f"file,patient,slide\n1.tif,{folder.upper()},1\n".encode() for folder in "ab"}
    assert handed_over(files).refused == {}
    assert _patients(store) == {"A", "B"}
    both = {**files, "slides.csv": b"file,patient,slide\na/1.tif,C,1\n"}
    with pytest.raises(BcdError, match=r"a/1\.tif"):
        handed_over(both)


def test_a_slide_that_is_complete_for_several_reasons_is_known_once(
    store: Store, handed_over, slide, tmp_path: Path
) -> None:
    slides = {"a/8867_idx5.tif": slide(tmp_path, 1), "b/8867_idx5.tif": slide(tmp_path, 1)}
    admission = handed_over({**slides, "slides.csv": b"file,patient,slide,complete\n,8867,5,1\n"})
    assert admission.admitted == 2
    assert list_complete_slides(store) == {(EAST, "8867", "5"): "tiled"}


def test_a_look_at_a_delivery_knows_its_complete_slides(slide, patch_files, as_folder, tmp_path: Path) -> None:
    table = b"file,patient,slide,complete\n,8867,5,1\n,9999,5,1\npart.tif,B,1,0\n"
    slides = {"9001_idx2.tif": slide(tmp_path, 1), "part.tif": slide(tmp_path, 2)}
    with look_at(as_folder({**patch_files("8867", "8868"), **slides, "slides.csv": table}), EAST) as delivery:
        assert delivery.complete == {(EAST, "8867", "5"), (EAST, "9001", "2")}
