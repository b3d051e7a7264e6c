"""What a person is handed: pictures, and files to fill in, without a word of what the model thinks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId, SlideId
from bcd.review.gather import Gathered, gather_unlabelled
from bcd.review.sheet import write_review
from bcd.store import tables
from bcd.store.frames import Frame, SlideFrame, store_frames
from bcd.store.store import Store

COLUMNS = ["bcd_review", "number", "hospital", "patient", "slide", "x", "y", "label"]


@pytest.fixture
def found(store: Store, admit) -> Gathered:
    """Patches of one patient whose slide is complete, and of one whose slide is not."""
    for patient in ("whole", "thinned"):
        admit([patient], [0.5, 0.4321, 0.6])
    rows = [
        {"protocol": "dealt", "hospital": "east", "patient": one, "split": "train"} for one in ("whole", "thinned")
    ]
    slide = {"hospital": "east", "patient": "whole", "slide": "5", "origin": "declared", "batch": 1}
    with store.write() as connection:
        connection.execute(sa.insert(tables.splits), rows)
        connection.execute(sa.insert(tables.complete_slides).values(slide))
    return gather_unlabelled(store)


@pytest.fixture
def folder(store: Store, found: Gathered, tmp_path: Path) -> Path:
    write_review(store, tmp_path / "monday", "next", found.patches.assign(why="of no weight"), found.stored)
    return tmp_path / "monday"


def test_a_list_is_a_folder_of_sheets_a_table_and_a_file_a_slide(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "contact-sheet.html",
        "contact-sheet.pdf",
        "patches.csv",
        "reasons.csv",
        "slides/east-thinned-5.geojson",
        "slides/east-whole-5.geojson",
    }
    assert (folder / "contact-sheet.pdf").read_bytes().startswith(b"%PDF")


def test_the_table_has_a_row_a_patch_and_an_empty_label(folder: Path, found: Gathered) -> None:
    table = pd.read_csv(folder / "patches.csv", dtype=str, keep_default_na=False)
    assert table.columns.tolist() == COLUMNS
    assert table["number"].tolist() == ["1", "2", "3", "4", "5", "6"]
    assert table["patient"].tolist() == found.patches["patient"].tolist()
    assert set(table["label"]) == {""}


def test_only_the_reasons_say_what_the_model_thinks(folder: Path) -> None:
    assert "0.4321" in (folder / "reasons.csv").read_text()
    for path in [folder / "patches.csv", folder / "contact-sheet.html", *folder.glob("slides/*")]:
        text = path.read_text().casefold()
        assert not {word for word in ("4321", "uncertain", "probability", "of no weight") if word in text}, path.name


def test_tissue_around_a_patch_is_shown_on_complete_slides_only(folder: Path, read_page, measure_page) -> None:
    html = (folder / "contact-sheet.html").read_text()
    page = read_page(html)
    assert len(page.pictures) == 9
    around = [title for title in page.pictures if "around" in title]
    assert len(around) == 3
    assert all("east/whole" in title for title in around)
    measure_page(html)


def test_each_patch_is_an_annotation_without_a_class_where_the_slide_is(
    store: Store, found: Gathered, tmp_path: Path
) -> None:
    with store.write() as connection:
        store_frames(
            connection,
            Hospital("east"),
            1,
            [SlideFrame(PatientId("whole"), SlideId("5"), Frame(0.5, 0.5, left=0, top=0))],
        )
    write_review(store, tmp_path / "cut", "next", found.patches, found.stored)
    said = json.loads((tmp_path / "cut/slides/east-whole-5.geojson").read_text())
    numbers = {one["patient"]: one["number"] for one in pd.read_csv(tmp_path / "cut/patches.csv").to_dict("records")}
    last = said["features"][-1]
    assert said["bcd"]["coordinates"].startswith("level-0")
    assert last["properties"] == {
        "objectType": "annotation",
        "name": f"review {numbers['whole']} east/whole_idx5_x101_y51",
    }
    assert last["geometry"]["coordinates"][0][0] == [800, 400]


def test_a_folder_that_is_there_is_left_alone(store: Store, found: Gathered, folder: Path) -> None:
    answered = (folder / "patches.csv").read_text() + "\n"
    (folder / "patches.csv").write_text(answered)
    with pytest.raises(BcdError, match="monday"):
        write_review(store, folder, "next", found.patches, found.stored)
    assert (folder / "patches.csv").read_text() == answered


def test_the_same_list_makes_the_same_bytes(store: Store, found: Gathered, folder: Path, tmp_path: Path) -> None:
    write_review(store, tmp_path / "again", "next", found.patches.assign(why="of no weight"), found.stored)
    for path in folder.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes(), path.name


def test_the_patch_is_framed_and_not_covered(store: Store, found: Gathered) -> None:
    from bcd.review.sheet import _LINES, _show_patches

    shown = {one.title: one for one in _show_patches(store, found.patches.assign(number=range(6)), found.stored)}
    one = shown["east/whole, slide 5, x 51, y 51"]
    np.testing.assert_array_equal(one.around[150:200, 150:200], one.patch)
    assert (one.around[149, 149:201] == _LINES[-1][1]).all()
    np.testing.assert_array_equal(one.around[160, 120], shown["east/whole, slide 5, x 1, y 51"].patch[10, 20])
    assert shown["east/thinned, slide 5, x 51, y 51"].around is None
