from __future__ import annotations

import json
import uuid
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from bcd.evaluation.calls import is_confident
from bcd.evaluation.policy.policy import Policy
from bcd.patches import Hospital, PatientId, SlideId
from bcd.scoring.geojson import IN_CONTEXT, PREDICTED, write_geojson
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import score_patient
from bcd.store.annotated import import_annotated_labels
from bcd.store.frames import Frame, SlideFrame, store_frames
from bcd.store.hospitals import declare_hospital
from bcd.store.options import LabelOptions
from bcd.store.patients import list_stored_patches
from bcd.store.sign_off import SignOff

EAST, PATIENT = Hospital("east"), PatientId("1001")
CELLS = [(0, 0), (1, 0), (2, 0), (3, 0), (2, 1)]
SCANNED = Frame(0.5, 0.5, left=1000, top=0)  # a patch is 400 pixels of level 0


@pytest.fixture
def admitted(store, make_patches):
    declare_hospital(store, "east", "pseudonyms", SignOff("Mary", "test"))
    store.admit(*make_patches(CELLS, labels=[None] * len(CELLS)))


@pytest.fixture
def scored(store, admitted, bundle):
    return lambda: score_patient(store, bundle, EAST, PATIENT, ScoreOptions())


def cut_by_bcd(store) -> None:
    with store.write() as connection:
        store_frames(connection, Hospital("east"), 1, [SlideFrame(PatientId("1001"), SlideId("5"), SCANNED)])


def certifying(*certified: SimpleNamespace) -> Policy:
    return cast("Policy", SimpleNamespace(certified=certified))


def read(folder) -> dict:
    return json.loads((folder / "patches-5.geojson").read_text("utf-8"))


def test_a_patch_is_a_detection_with_what_the_stored_scores_say(scored) -> None:
    done = scored()
    stored = pd.read_parquet(done.scores)
    said = read(done.folder)
    assert said["type"] == "FeatureCollection"
    assert (said["bcd"]["patient"], said["bcd"]["slide"], said["bcd"]["bundle"]) == ("1001", "5", "bcd-idc/7")
    assert len(said["features"]) == len(stored)
    for feature, row in zip(said["features"], stored.to_dict("records"), strict=True):
        properties = feature["properties"]
        assert (feature["type"], properties["objectType"]) == ("Feature", "detection")
        assert properties["name"] == f"east/1001_idx5_x{row['x']}_y{row['y']}"
        left, top = row["x"] - 1, row["y"] - 1
        ring = [[left, top], [left + 50, top], [left + 50, top + 50], [left, top + 50], [left, top]]
        assert feature["geometry"] == {"type": "Polygon", "coordinates": [ring]}
        confident = bool(is_confident(row["probability"], 0.95))
        assert properties["measurements"]["Probability of IDC"] == pytest.approx(row["probability"], abs=1e-6)
        assert properties["measurements"]["Confident at 95 %"] == confident == row["confident_95"]
        assert properties["classification"]["name"] == PREDICTED[row["probability"] >= 0.5 if confident else 2]
        assert all(0 <= each <= 255 for each in properties["classification"]["color"])


def test_coordinates_are_the_slides_own_where_bcd_cut_it_and_patch_pixels_where_not(store, scored) -> None:
    said = read(scored().folder)["bcd"]
    assert ("grid" in said["coordinates"], said["microns_per_pixel"]) == (True, [4, 4])
    cut_by_bcd(store)
    for path in scored().folder.parent.iterdir():
        path.rename(path.with_name("before"))
    said = read(scored().folder)
    assert "level-0" in said["bcd"]["coordinates"]
    assert said["bcd"]["microns_per_pixel"] == [0.5, 0.5]
    corners = [feature["geometry"]["coordinates"][0] for feature in said["features"]]
    assert [corner[0] for corner in corners] == [[column * 400 - 1000, row * 400] for column, row in CELLS]
    assert corners[1][2] == [-200, 400]


def test_a_certified_threshold_decides_and_what_it_does_not_decide_has_no_call(tmp_path) -> None:
    scores = pd.DataFrame({"hospital": "east", "patient": "1", "slide": "5", "x": [1, 51, 101], "y": 1})
    scores[["probability", "context_probability"]] = np.array([[0.995, 0.97], [0.5, np.nan], [0.02, np.nan]])
    some, none = (SimpleNamespace(target_error=e, threshold=t) for e, t in ((0.05, 0.9), (0.01, None)))
    policy = certifying(some, none)
    files = []
    for name in ("a", "b"):
        files.append(tmp_path / name)
        write_geojson(files[-1], scores, frame=None, bundle="bcd-idc/1", level=0.95, policy=policy)
    assert files[0].read_bytes() == files[1].read_bytes()
    measured = [each["properties"]["measurements"] for each in json.loads(files[0].read_text())["features"]]
    assert [each.get("Certified call, error up to 5 %") for each in measured] == [1, None, 0]
    assert [each.get(IN_CONTEXT) for each in measured] == [0.97, None, None]
    assert not any("1 %" in name for each in measured for name in each)


def test_a_patch_takes_less_than_450_bytes(tmp_path) -> None:
    n = 1_000
    scores = pd.DataFrame({"hospital": "east", "patient": "1", "slide": "5", "x": 1 + 50 * np.arange(n), "y": 1})
    scores["probability"], scores["context_probability"] = np.linspace(0, 1, n), np.nan
    path = tmp_path / "patches.geojson"
    frame = Frame(0.499, 0.499, 0, 0)
    write_geojson(path, scores, frame=frame, bundle="b", level=0.95, policy=certifying())
    assert path.stat().st_size < 450 * n


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_out_to_qupath_edited_and_back(store, scored, tmp_path, version: str, is_cut: bool) -> None:
    if is_cut:
        cut_by_bcd(store)
    step, left = (400, 1000) if is_cut else (50, 0)
    objects = read(scored().folder)["features"]

    def draw(name: str, x0: float, y0: float, x1: float, y1: float) -> dict:
        at = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        ring = [[round(x * step - left, 2), round(y * step, 2)] for x, y in at]
        said = {"names": [name]} if version == "0.5" else {"name": name}
        properties = {"objectType": "annotation", "classification": {**said, "color": [200, 0, 0]}, "isLocked": True}
        return {"geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}

    # Rows of the grid: one patch is tumour, one and a bit reviewed around it; a hole leaves the last one out.
    drawn = [draw("Tumor", 0, 0, 1.9, 1), draw("Reviewed*", 0, 0, 4, 2), draw("Ignore*", 2, 1, 3, 2)]
    drawn.append(draw("IDC", 2.5, 0, 3, 1))
    saved = [{"type": "Feature", "id": str(uuid.uuid4()), **each} for each in [*objects, *drawn]]
    edited = tmp_path / "edited.geojson"
    edited.write_text(json.dumps({"type": "FeatureCollection", "features": saved}, indent=1), "utf-8")

    done = import_annotated_labels(
        store,
        edited,
        LabelOptions(),
        hospital=None,
        patient=None,
        slide=None,
        sign_off=SignOff("Dr Lee", "corrected in QuPath"),
    )
    assert (done.positive, done.negative, done.mixed, done.silent) == (2, 1, 1, 1)
    assert (done.others, done.frame is not None) == (len(CELLS), is_cut)
    after = list_stored_patches(store, EAST, PATIENT).set_index(["x", "y"])["label"]
    assert [None if pd.isna(after[50 * c + 1, 50 * r + 1]) else after[50 * c + 1, 50 * r + 1] for c, r in CELLS] == [
        1,
        1,
        None,
        0,
        None,
    ]
    # What changed is scored anew, with the labels in the report.
    assert not scored().skipped
