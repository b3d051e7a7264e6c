from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcd.patches import PatchName, PatientId, SlideId, is_on_grid, is_patch_of_another_format

NAMES = st.builds(
    PatchName,
    patient=st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True).map(PatientId),
    slide=st.integers(0, 999_999).map(lambda number: SlideId(str(number))),
    x=st.integers(0, 9_999_999),
    y=st.integers(0, 9_999_999),
    label=st.sampled_from([0, 1, None]),
)


@given(NAMES)
def test_a_name_that_is_written_is_read_back(name: PatchName) -> None:
    assert PatchName.parse(name.format()) == name


@given(st.text())
def test_any_text_is_a_name_or_none_and_never_an_error(text: str) -> None:
    name = PatchName.parse(text)
    assert name is None or name.patient in text


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_place_on_the_grid_is_its_column_and_row(column: int, row: int) -> None:
    name = PatchName(PatientId("1"), SlideId("5"), x=1 + 50 * column, y=1 + 50 * row, label=None)
    assert is_on_grid(name.x)
    assert is_on_grid(name.y)
    assert (name.column, name.row) == (column, row)


@pytest.mark.parametrize("place", [-49, 0, 2, 50, 52])
def test_other_places_are_off_the_grid(place: int) -> None:
    assert not is_on_grid(place)
    assert is_on_grid(np.array([1.0, place, 51.0])).tolist() == [True, False, True]


def test_a_name_of_the_public_set_is_read() -> None:
    assert PatchName.parse("8867_idx5_x51_y1001_class1.png") == PatchName(
        PatientId("8867"), SlideId("5"), 51, 1001, 1
    )
    assert PatchName.parse("8867_idx5_x51_y1001.png") == PatchName(PatientId("8867"), SlideId("5"), 51, 1001, None)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "IMG_0001.png",
        "8867_idx5_x51_y1001_class2.png",
        "8867_idx5_x51_y1001_class1.jpg",
        "8867_idx5_x51_y1001_class1.png.png",
        "8867_idx5_x-49_y1001_class1.png",
        "_idx5_x51_y1001_class1.png",
        "88_67_idx5_x51_y1001_class1.png",
        "8867_idx5_x51_y1001_class1.png\n",
        "../8867_idx5_x51_y1001_class1.png",
        "8867_idx5_x\u0665\u0661_y1001_class1.png",  # digits, but not of ASCII
    ],
)
def test_what_does_not_follow_the_grammar_is_no_name(name: str) -> None:
    assert PatchName.parse(name) is None


@given(NAMES)
def test_a_name_is_read_in_capitals_too_and_the_patient_is_left_as_written(name: PatchName) -> None:
    read = PatchName.parse(name.format().upper())
    assert read is not None
    assert (read.patient, read.slide, read.x, read.y) == (name.patient.upper(), name.slide, name.x, name.y)
    assert read.label == name.label


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("8867_idx5_x51_y101_class0.jpg", True),
        ("8867_IDX5_X51_Y101.WEBP", True),
        ("8867_idx5_x51_y101_class0.png", False),
        ("8867_idx5_x51_y101_class0.png~", False),
        ("8867_idx5_x51_y101_class0.txt", False),
        ("8867_idx5.jpg", False),
    ],
)
def test_a_patch_of_another_format_is_known_by_its_ending(name: str, expected: bool) -> None:
    assert is_patch_of_another_format(name) is expected
