from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.store import tables
from bcd.store.annotated import AnnotationImport, decide_labels, import_annotated_labels
from bcd.store.annotations import name_annotated_patch
from bcd.store.areas import Polygon
from bcd.store.frames import PATCH_FRAME, Frame
from bcd.store.hospitals import declare_hospital
from bcd.store.labels import latest_labels
from bcd.store.options import LabelOptions
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.store.withdrawals import record_withdrawal

DEFAULTS = LabelOptions()


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def decide(areas, *, columns=4, frame=PATCH_FRAME, options=DEFAULTS) -> list[str]:
    """Decides patches of one row, at y 1, by areas in the frame's pixels: (kind, box)."""
    patches = pd.DataFrame({"x": 1 + 50 * np.arange(columns), "y": 1})
    polygons = [Polygon(kind, [np.array(box(*corners), float)]) for kind, corners in areas]
    return decide_labels(polygons, patches, frame, options).tolist()


def test_four_fifths_under_a_positive_class_are_idc_and_less_is_nothing_where_nobody_looked() -> None:
    assert decide([("positive", (0, 0, 90, 50))]) == ["positive", "positive", "silent", "silent"]
    assert decide([("positive", (0, 0, 89, 50))]) == ["positive", "silent", "silent", "silent"]


@pytest.mark.parametrize("kind", ["negative", "reviewed"])
def test_no_idc_is_only_what_was_looked_at_in_full(kind: str) -> None:
    assert decide([(kind, (0, 0, 120, 50))]) == ["negative", "negative", "silent", "silent"]


def test_what_was_looked_at_in_full_and_lies_between_has_no_label() -> None:
    areas = [("reviewed", (0, 0, 200, 50)), ("positive", (0, 0, 89, 50))]
    assert decide(areas) == ["positive", "mixed", "negative", "negative"]


def test_ignored_areas_are_neither_tumour_nor_looked_at() -> None:
    areas = [("reviewed", (0, 0, 200, 50)), ("positive", (0, 0, 50, 50)), ("ignored", (35, 0, 60, 50))]
    assert decide(areas) == ["silent", "silent", "negative", "negative"]


def test_a_patch_under_both_classes_gets_none() -> None:
    areas = [("negative", (0, 0, 200, 50)), ("positive", (0, 0, 70, 50))]
    assert decide(areas) == ["contradicted", "contradicted", "negative", "negative"]


def test_thresholds_are_options() -> None:
    options = LabelOptions(positive_from=0.5, negative_to=0.2)
    areas = [("reviewed", (0, 0, 150, 50)), ("positive", (25, 0, 60, 50)), ("positive", (120, 0, 150, 50))]
    assert decide(areas, options=options) == ["positive", "negative", "positive", "silent"]
    with pytest.raises(ValueError, match=r"negative_to is 0\.2 .*positive_from 0\.2"):
        LabelOptions(positive_from=0.2, negative_to=0.2)


def test_areas_are_in_the_pixels_of_the_slide_as_a_viewer_counts_them() -> None:
    frame = Frame(0.5, 0.25, left=100, top=40)  # a patch is 400 x 800 pixels of level 0
    assert frame.corners([1, 51], [1, 1]).tolist() == [[-100, -40], [300, -40]]
    assert decide([("positive", (300, -40, 700, 760))], frame=frame) == ["silent", "positive", "silent", "silent"]


@pytest.fixture
def bring(store: Store, tmp_path: Path):
    """Imports areas, (class, box), as QuPath would save them."""
    for hospital in ("east", "west"):
        declare_hospital(store, hospital, "pseudonyms", SignOff("Mary", "test"))

    def _bring(areas, *, names=(), hospital=None, patient="a", slide="5") -> AnnotationImport:
        features = [_feature("annotation", box(*corners), classification={"name": name}) for name, corners in areas]
        features += [_feature("detection", box(0, 0, 50, 50), name=name) for name in names]
        file = tmp_path / "edited.geojson"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
        place = {"hospital": hospital, "patient": patient, "slide": slide}
        sign_off = SignOff("Dr Lee", "second reading")
        return import_annotated_labels(store, file, DEFAULTS, **place, sign_off=sign_off)

    return _bring


def _feature(kind: str, ring, **properties):
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": kind, **properties}}


def labels_of(store: Store, hospital: str = "east") -> list[int | None]:
    labels = latest_labels().subquery()
    query = sa.select(labels.c.label).where(labels.c.hospital == hospital).order_by(labels.c.patient, labels.c.x)
    with store.read() as connection:
        return list(connection.scalars(query))


def revisions(store: Store) -> list[tuple]:
    columns = tables.label_revisions.c
    with store.read() as connection:
        query = sa.select(columns.x, columns.label, columns.by, columns.reason).order_by(columns.x)
        return [tuple(row) for row in connection.execute(query)]


def test_annotations_become_signed_revisions_of_that_slide_alone(store: Store, store_batch, bring) -> None:
    store_batch(["a", "b"], labels=(None, 0, 1, 1, 0))
    done = bring([("Reviewed", (50, 50, 200, 100)), ("Tumor", (50, 50, 130, 100))])
    assert (done.positive, done.mixed, done.negative, done.contradicted, done.silent) == (1, 1, 1, 0, 2)
    assert (done.labels.changed, done.labels.taken_back, done.labels.unchanged) == (3, 1, 0)
    signed = ("Dr Lee", "second reading")
    assert revisions(store) == [(51, 1, *signed), (101, None, *signed), (151, 0, *signed)]
    assert labels_of(store) == [None, 1, None, 0, 0, None, 0, 1, 1, 0]


def test_the_same_file_again_changes_nothing(store: Store, store_batch, bring) -> None:
    store_batch(["a"], labels=(None, 0))
    areas = [("IDC", (0, 50, 100, 100))]
    assert bring(areas).labels.changed == 2
    again = bring(areas).labels
    assert (again.changed, again.unchanged, len(revisions(store))) == (0, 2, 2)


def test_the_file_says_whose_slide_it_is(store: Store, store_batch, bring) -> None:
    for hospital in ("east", "west"):
        store_batch(["a"], labels=(0,), hospital=hospital)
    tumour = [("Tumor", (0, 50, 50, 100))]
    bring(tumour, names=[name_annotated_patch("west", "a", "5", 1, 51)], patient=None, slide=None)
    assert (labels_of(store, "east"), labels_of(store, "west")) == ([0], [1])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"patient": None}, "--hospital, --patient and --slide"),
        ({"slide": None}, "--hospital, --patient and --slide"),
        ({"patient": "c"}, "patient c"),
        ({"slide": "7"}, "east/a .*slide 7.*slides 5"),
        ({"names": ["east/b_idx5_x1_y51"]}, "east/b slide 5.*east/a slide 5"),
        ({"names": ["east/a_idx5_x1_y51", "east/b_idx5_x1_y51"]}, "patches of several slides"),
    ],
)
def test_a_slide_that_is_not_certain_is_refused(store: Store, store_batch, bring, asked, message: str) -> None:
    store_batch(["a", "b"], labels=(0,))
    with pytest.raises(BcdError, match=message):
        bring([("Tumor", (0, 50, 50, 100))], **asked)
    assert revisions(store) == []


def test_a_slide_may_be_named_as_in_file_names(store_batch, bring) -> None:
    store_batch(["a"], labels=(0,))
    assert bring([("Tumor", (0, 50, 50, 100))], slide="idx5").positive == 1


def test_areas_elsewhere_or_too_small_are_refused_with_both_places(store: Store, store_batch, bring) -> None:
    store_batch(["a"], labels=(0, 0))
    with pytest.raises(BcdError, match=r"\b1 annotations.*x 0 to 8,000 and y.*x 0 to 100 and y 50 to 100"):
        bring([("Tumor", (0, 50, 100, 100)), ("Tumor", (4000, 0, 8000, 4000))])
    with pytest.raises(BcdError, match=r"x 0 to 10 and y 50 to 100"):
        bring([("Tumor", (0, 50, 10, 100))])
    with pytest.raises(BcdError, match=r"\b1 patches"):
        bring([("Tumor", (0, 50, 50, 100)), ("Benign", (0, 50, 50, 100))])
    assert revisions(store) == []


def test_a_withdrawn_patient_is_refused(store, store_batch, bring) -> None:
    store_batch(["a"], labels=(0,))
    tumour = [("Tumor", (0, 50, 50, 100))]
    record_withdrawal(store, "a", hospital="east", sign_off=SignOff("Mary", "a letter"))
    with pytest.raises(BcdError, match="withdrawn"):
        bring(tumour)
    assert revisions(store) == []
