"""Answers to `bcd review`: labels that a model's scores asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.store import tables
from bcd.store.annotated import import_annotated_labels
from bcd.store.annotations import name_annotated_patch, name_asked_patch
from bcd.store.hospitals import declare_hospital
from bcd.store.options import LabelOptions
from bcd.store.revisions import LabelImport, import_labels
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

HEADER = "bcd_review,number,hospital,patient,slide,x,y,label\n"
SIGNED = SignOff("Dr Lee", "the queue of Monday")


@pytest.fixture(autouse=True)
def dealt(store: Store, store_batch) -> None:
    """Train patient a and test patient t, each with a patch of IDC, one of none, and one without a label."""
    declare_hospital(store, "east", "pseudonyms", SignOff("Mary", "test"))
    store_batch(["a", "t", "u"], labels=(1, 0, None))
    record_split(store, "a", "train")
    record_split(store, "t", "test")


def record_split(store: Store, patient: str, split: str, protocol: str = "dealt") -> None:
    row = {"protocol": protocol, "hospital": "east", "patient": patient, "split": split}
    with store.write() as connection:
        connection.execute(sa.insert(tables.splits).values(row))


def revisions(store: Store) -> list[tuple]:
    columns = tables.label_revisions.c
    query = sa.select(columns.patient, columns.x, columns.label, columns.asked, columns.by, columns.reason)
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(columns.number))]


@pytest.fixture
def answer(store: Store, tmp_path: Path):
    """Imports lines under the header of a list."""

    def _answer(*lines: str, asked: bool = True) -> LabelImport:
        file = tmp_path / "patches.csv"
        file.write_text(HEADER + "".join(f"next,{number},east,{line}\n" for number, line in enumerate(lines, 1)))
        return import_labels(store, file, hospital=None, sign_off=SIGNED, asked=asked)

    return _answer


def test_answers_become_signed_revisions_and_what_is_left_open_says_nothing(store: Store, answer) -> None:
    done = answer("a,5,1,51,", "a,5,51,51,1", "a,5,101,51,0")
    assert (done.changed, done.taken_back, done.confirmed, done.match.rows) == (2, 0, 0, 2)
    signed = (True, "Dr Lee", "the queue of Monday")
    assert revisions(store) == [("a", 51, 1, *signed), ("a", 101, 0, *signed)]


def test_a_label_that_is_confirmed_is_entered_once(store: Store, answer) -> None:
    done = answer("a,5,1,51,1")
    assert (done.changed, done.confirmed, done.unchanged) == (0, 1, 0)
    again = answer("a,5,1,51,1")
    assert (again.changed, again.confirmed, again.unchanged) == (0, 0, 1)
    assert len(revisions(store)) == 1


def test_unsure_is_an_answer_without_a_label(store: Store, answer) -> None:
    done = answer("a,5,51,51,unsure", "a,5,101,51,?")
    assert (done.changed, done.taken_back, done.confirmed) == (1, 1, 1)
    assert [row[1:4] for row in revisions(store)] == [(51, None, True), (101, None, True)]


def test_the_same_list_again_changes_nothing(store: Store, answer) -> None:
    lines = "a,5,1,51,0", "a,5,51,51,unsure", "a,5,101,51,1"
    answer(*lines)
    again = answer(*lines)
    assert (again.changed, again.taken_back, again.confirmed, again.unchanged) == (0, 0, 0, 3)
    assert len(revisions(store)) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("t,5,101,51,1", r"patches\.csv .*line 3: patient east/t is no train patient \(split test\)"),
        ("u,5,101,51,1", r"line 3: patient east/u is no train patient \(no split yet\)"),
        ("a,5,101,51,perhaps", "line 3: label is 'perhaps'"),
        ("a,5,101,5x,1", "line 3: y is '5x'"),
        ("a,5,51,51,0", r"line 2: .*a_idx5_x51_y51; line 3"),
    ],
)
def test_one_bad_row_refuses_the_whole_list(store: Store, answer, line: str, message: str) -> None:
    with pytest.raises(BcdError, match=message):
        answer("a,5,51,51,1", line)
    assert revisions(store) == []


def test_a_patient_who_evaluates_under_any_protocol_is_refused(store: Store, answer) -> None:
    record_split(store, "a", "gate", "leave-one-hospital-out:east")
    with pytest.raises(BcdError, match=r"east/a\b.*\bgate\b"):
        answer("a,5,51,51,1")


def test_a_list_without_an_answer_is_refused(answer) -> None:
    with pytest.raises(BcdError, match=r"\b2 lines"):
        answer("a,5,51,51,", "a,5,101,51,")


def test_a_list_and_a_table_of_labels_are_not_taken_for_each_other(store: Store, answer, tmp_path: Path) -> None:
    with pytest.raises(BcdError, match="bcd review import"):
        answer("a,5,1,51,", asked=False)  # which would take the label back
    table = tmp_path / "labels.csv"
    table.write_text("patient,slide,x,y,label\na,5,51,51,1\n")
    with pytest.raises(BcdError, match="bcd label import"):
        import_labels(store, table, hospital="east", sign_off=SIGNED, asked=True)
    assert revisions(store) == []


@pytest.fixture
def classify(store: Store, tmp_path: Path):
    """Imports the patches of a patient as QuPath saves them, each with the class that it was given, or none."""

    def _classify(patient: str, *classes: str, asked: bool = True):
        features = []
        for number, name in enumerate(classes, 1):
            left = 50 * (number - 1)
            ring = [[left, 50], [left + 50, 50], [left + 50, 100], [left, 100], [left, 50]]
            patch = name_annotated_patch("east", patient, "5", left + 1, 51)
            said: dict[str, object] = {"objectType": "annotation", "name": name_asked_patch(number, patch)}
            said |= {"classification": {"name": name, "color": [200, 0, 0]}} if name else {}
            geometry = {"type": "Polygon", "coordinates": [ring]}
            features.append({"type": "Feature", "geometry": geometry, "properties": said})
        file = tmp_path / "east-a-5.geojson"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        place = {"hospital": None, "patient": None, "slide": None}
        return import_annotated_labels(store, file, LabelOptions(), **place, sign_off=SIGNED, asked=asked)

    return _classify


def test_patches_that_were_classified_in_qupath_are_answers(store: Store, classify) -> None:
    done = classify("a", "Benign", "", "Tumor")
    assert (done.positive, done.negative, done.silent, done.others) == (1, 1, 1, 1)
    assert [row[:4] for row in revisions(store)] == [("a", 1, 0, True), ("a", 101, 1, True)]
    again = classify("a", "Benign", "", "Tumor").labels
    assert (again.changed, again.confirmed, len(revisions(store))) == (0, 0, 2)


def test_classified_patches_of_a_test_patient_are_refused(store: Store, classify) -> None:
    with pytest.raises(BcdError, match="east/t"):
        classify("t", "Benign", "Tumor")
    assert revisions(store) == []


def test_classified_patches_of_a_list_are_no_annotations_of_a_slide(store: Store, classify) -> None:
    with pytest.raises(BcdError, match="bcd review import"):
        classify("t", "Benign", "Tumor", "Tumor", asked=False)
    assert revisions(store) == []
