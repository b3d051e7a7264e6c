from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcd.admission.slides.names import (
    SLIDE_SUFFIXES,
    explain_misfit,
    find_companion_files,
    is_slide,
    parse_slide_name,
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("8867_idx5.svs", ("8867", "5")),
        ("march/8867/8867_idx5.NDPI", ("8867", "5")),
        ("8867.tiff", ("8867", "0")),
        ("A-1_idx12.png", ("A-1", "12")),
        ("8867_idx5/IMG0.dcm", ("8867", "5")),
        ("8867/1.2.840.dcm", ("8867", "0")),
        ("march/8867_idx5.dcm", ("8867", "5")),
        ("8867_IDX5.SVS", ("8867", "5")),
        ("8867_idx5.ome.tif", ("8867", "5")),
        ("8867.OME.TIFF", ("8867", "0")),
        ("8867_IDX5/IMG0.DCM", ("8867", "5")),
        ("8867.ome.svs", None),
        ("8867_idx.svs", None),
        ("8867_idx1234567.svs", None),
        ("Erika Mustermann.svs", None),
        ("8867_idx5_x1_y1.svs", None),
        ("my slides/IMG0.dcm", None),
        ("IMG0.dcm", None),
        ("8867.png", None),
        ("8867_idx5.txt", None),
        ("8867٣.svs", None),
    ],
)
def test_the_name_says_patient_and_slide(path: str, expected) -> None:
    assert parse_slide_name(PurePosixPath(path)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("x.svs", True),
        ("Erika Mustermann.SVS", True),  # and is refused for its name
        ("8867_idx5.png", True),
        ("8867_idx5.JPG", True),
        ("8867_idx5_x51_y1_class0.png", False),
        ("8867_idx5_x51_y1.png", False),
        ("beach.jpg", False),
        ("8867.png", False),
        ("labels.csv", False),
        ("8867_idx5", False),
    ],
)
def test_a_slide_is_known_by_its_suffix_and_a_picture_by_its_name(path: str, expected: bool) -> None:
    assert is_slide(PurePosixPath(path)) is expected


@given(st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True), st.integers(0, 999_999))
def test_every_patient_and_slide_of_a_patch_can_name_a_slide(patient: str, slide: int) -> None:
    for suffix in SLIDE_SUFFIXES:
        assert parse_slide_name(PurePosixPath(f"{patient}_idx{slide}{suffix}")) == (patient, str(slide))


@given(st.text(max_size=40))
def test_no_name_breaks_the_grammar(text: str) -> None:
    name = parse_slide_name(PurePosixPath(text))
    assert name is None or is_slide(PurePosixPath(text))


def _companions(names: list[str], member: str) -> set[str]:
    return {names[i] for i in find_companion_files(names, names.index(member))}


def test_a_mirax_slide_brings_its_folder() -> None:
    names = ["a/1_idx1.mrxs", "a/1_idx1/Index.dat", "a/1_idx1/Slidedat.ini", "a/1_idx10/Index.dat", "1_idx1/x.dat"]
    assert _companions(names, "a/1_idx1.mrxs") == {"a/1_idx1/Index.dat", "a/1_idx1/Slidedat.ini"}
    assert _companions(["1.mrxs", "1/Index.dat", "2/Index.dat"], "1.mrxs") == {"1/Index.dat"}


def test_a_dicom_file_brings_its_series_whichever_it_is() -> None:
    names = ["1_idx1/a.dcm", "1_idx1/b.DCM", "1_idx1/notes.txt", "1_idx2/a.dcm", "2_idx1.dcm", "2_idx2.dcm"]
    assert _companions(names, "1_idx1/a.dcm") == {"1_idx1/b.DCM"}
    assert _companions(names, "1_idx1/b.DCM") == {"1_idx1/a.dcm"}
    assert _companions(names, "2_idx1.dcm") == set()


def test_a_hamamatsu_slide_brings_the_pictures_beside_it() -> None:
    names = [
        "h/1_idx1.vms",
        "h/s(1,0).jpg",
        "h/s_macro.jpg",
        "h/s.opt",
        "h/1_idx2.jpg",
        "s.jpg",
        "h/1_idx1_x1_y1.png",
    ]
    assert _companions(names, "h/1_idx1.vms") == {"h/s(1,0).jpg", "h/s_macro.jpg", "h/s.opt"}


def test_any_other_slide_stands_alone() -> None:
    assert find_companion_files(["1_idx1.svs", "1_idx1/Index.dat", "1_idx1.jpg"], 0) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("Erika Mustermann.svs", '"Erika Mustermann"'),
        ("no_spacing_idx8.tif", '"no_spacing"'),
        ("TCGA-A1-A0SK-01Z-00-DX1.4F1B.svs", '"."'),
        ("Müller_idx1.svs", '"Müller"'),
        ("8867_idx5a.svs", '"5a"'),
        ("8867_idx1234567.svs", '"1234567"'),
        ("_idx5.svs", "has 0 "),
        (f"{'8' * 65}.svs", "has 65 "),
        ("IMG0.dcm", "by the folder that holds its files, and there is none"),
        ("my slides/IMG0.dcm", '"my slides"'),
    ],
)
def test_a_misfit_is_told_by_what_does_not_fit(path: str, words: str) -> None:
    assert parse_slide_name(PurePosixPath(path)) is None
    assert words in explain_misfit(PurePosixPath(path))
