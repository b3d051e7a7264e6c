from __future__ import annotations

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from tifffile import TiffFile

from bcd.errors import BcdError, NotFoundError
from bcd.evaluation.outcome import OutcomeRule
from bcd.evaluation.policy.calibration import sigmoid
from bcd.evaluation.policy.context import Context
from bcd.patches import Hospital, PatientId
from bcd.scoring.geojson import IN_CONTEXT
from bcd.scoring.options import ScoreOptions
from bcd.scoring.picture import Picture
from bcd.scoring.score import patients_to_score, score_patient
from bcd.store import tables
from bcd.store.complete import CompleteSlide, record_complete
from bcd.store.ledger import list_ledger

EAST, PATIENT = Hospital("east"), PatientId("1001")
OPTIONS = ScoreOptions()
CELLS = [(0, 0), (1, 0), (3, 1), (2, 2), (4, 2)]


@pytest.fixture
def admitted(store, make_patches):
    patches, pixels = make_patches(CELLS, labels=[0, 1, 0, 1, 0])
    store.admit(patches, pixels)
    return patches, pixels


def score(store, bundle, options=OPTIONS, hospital=EAST, patient=PATIENT):
    return score_patient(store, bundle, hospital, patient, options)


def test_ome_leaves_slide_and_heatmap_as_ome_tiff_too(store, admitted, bundle):
    scored = score(store, bundle, ScoreOptions(ome=True))
    plain = {path.name for path in score(store, bundle).folder.iterdir()}
    left = {path.name for path in scored.folder.iterdir()}
    assert left - plain == {"slide-5.ome.tiff", "heatmap-5.ome.tiff"}
    with TiffFile(scored.folder / "slide-5.ome.tiff") as file:
        np.testing.assert_array_equal(file.series[0].levels[0].asarray()[50:100, 150:200], admitted[1][2])


def test_ome_without_what_writes_it_is_told_before_a_patient_is_tried(store, admitted, bundle, monkeypatch):
    monkeypatch.setattr("bcd.scoring.export.scored.find_spec", lambda name: None)
    with pytest.raises(BcdError, match=r"tifffile.*bcd\[ome\]"):
        score(store, bundle, ScoreOptions(ome=True))
    assert (bundle.calls, list_ledger(store)) == (0, [])


def test_a_patient_becomes_scores_slide_heatmap_report_and_a_ledger_entry(store, admitted, bundle):
    scored = score(store, bundle)
    assert scored.folder.parent == store.settings.scores / "east" / "1001"
    assert {path.name for path in scored.folder.iterdir()} == {
        "scores.parquet",
        "drift.json",
        "slide-5.webp",
        "heatmap-5.webp",
        "patches-5.geojson",
        "report.html",
    }
    assert scored.scores.exists()
    assert scored.report.exists()
    assert not scored.skipped
    (entry,) = list_ledger(store)
    assert (entry.hospital, entry.patient, entry.bundle, entry.status) == ("east", "1001", "bcd-idc/7", "scored")
    assert store.settings.home / entry.folder == scored.folder


def test_stored_scores_are_the_bundles_for_each_patch_by_its_place(store, admitted, bundle, redness):
    patches, pixels = admitted
    stored = pd.read_parquet(score(store, bundle).scores).set_index(["x", "y"])
    assert {"hospital", "patient", "slide", "label", "logit", "probability", "spread", "confident_95"} <= set(stored)
    for x, y, label, expected in zip(patches["x"], patches["y"], patches["label"], redness(pixels), strict=True):
        assert stored.loc[(x, y), "probability"] == pytest.approx(expected)
        assert stored.loc[(x, y), "label"] == label


def test_the_slide_shows_the_admitted_pixels(store, admitted, bundle):
    patches, pixels = admitted
    picture = cv2.imread(str(score(store, bundle).pictures[0].picture))[..., ::-1].astype(int)
    left, top, right, bottom = Picture(np.zeros((250, 350, 3), np.uint8), title="", longest_edge=2000).box
    enlarged = 1000 // 350
    image = picture[top:bottom:enlarged, left:right:enlarged]
    colours = pixels.mean(axis=(1, 2))
    for i, (x, y) in enumerate(zip(patches["x"], patches["y"], strict=True)):
        shown = image[y + 49 : y + 99, x + 49 : x + 99]
        off = np.abs(shown.mean(axis=(0, 1)) - colours).max(axis=1)
        assert off.argmin() == i
        assert off[i] < 4


def test_the_same_again_is_found_done(store, admitted, bundle):
    first = score(store, bundle)
    again = score(store, bundle)
    assert again.skipped
    assert (again.folder, again.summary) == (first.folder, first.summary)
    assert bundle.calls == 1
    assert len(list_ledger(store)) == 1


def test_killed_before_the_ledger_entry_the_next_run_makes_it(store, admitted, bundle):
    score(store, bundle)
    with store.write() as connection:
        connection.execute(sa.delete(tables.ledger))
    assert patients_to_score(store, bundle, OPTIONS) == [(EAST, PATIENT)]
    again = score(store, bundle)
    assert bundle.calls == 1
    assert not again.skipped
    assert [entry.status for entry in list_ledger(store)] == ["scored"]
    assert patients_to_score(store, bundle, OPTIONS) == []


def test_a_result_that_was_deleted_is_made_again(store, admitted, bundle):
    shutil.rmtree(score(store, bundle).folder)
    assert patients_to_score(store, bundle, OPTIONS) == [(EAST, PATIENT)]
    assert score(store, bundle).report.exists()


def test_a_failure_is_in_the_ledger_named_and_leaves_nothing_half_made(store, admitted, bundle, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("bcd.scoring.result.write_patient_report", fail)
        with pytest.raises(BcdError, match=r"east/1001\b.*OSError: No space left"):
            score(store, bundle)
    assert list((store.settings.scores / "east" / "1001").iterdir()) == []
    (entry,) = list_ledger(store)
    assert (entry.status, entry.error) == ("failed", "OSError: No space left on device")
    assert patients_to_score(store, bundle, OPTIONS) == [(EAST, PATIENT)]
    assert score(store, bundle).report.exists()
    assert [entry.status for entry in list_ledger(store)] == ["scored", "failed"]


def test_scores_that_are_no_numbers_are_refused(store, admitted, bundle, monkeypatch):
    honest = bundle.score
    monkeypatch.setattr(bundle, "score", lambda pixels, **asked: honest(pixels, **asked).assign(logit=np.nan))
    with pytest.raises(BcdError, match=r"east/1001\b.*bcd-idc/7"):
        score(store, bundle)


def test_an_unknown_patient_is_an_error_and_no_ledger_entry(store, admitted, bundle):
    with pytest.raises(NotFoundError, match="1009"):
        score(store, bundle, patient=PatientId("1009"))
    assert list_ledger(store) == []


def test_new_patches_a_new_bundle_or_another_level_are_scored_anew(store, admitted, bundle, make_patches):
    folders = [score(store, bundle).folder]
    folders.append(score(store, bundle, ScoreOptions(outcome=OutcomeRule(level=0.99))).folder)
    store.admit(*make_patches([(7, 7)], seed=1))
    assert patients_to_score(store, bundle, OPTIONS) == [(EAST, PATIENT)]
    scored = score(store, bundle)
    assert scored.n == len(CELLS) + 1
    folders.append(scored.folder)
    bundle.name = "bcd-idc/8"
    folders.append(score(store, bundle).folder)
    assert len(set(folders)) == 4
    assert all((folder / "report.html").exists() for folder in folders)


def test_a_bundle_of_the_same_name_in_a_registry_begun_anew_is_another_one(store, admitted, bundle):
    first = score(store, bundle)
    bundle.record.created_at += pd.Timedelta(days=1)
    assert patients_to_score(store, bundle, OPTIONS) == [(EAST, PATIENT)]
    again = score(store, bundle)
    assert (again.skipped, bundle.calls) == (False, 2)
    assert again.folder != first.folder
    assert patients_to_score(store, bundle, OPTIONS) == []


def test_each_slide_has_its_pictures_the_largest_first(store, bundle, make_patches):
    small, large = make_patches([(0, 0)], slide="9"), make_patches(CELLS, slide="11", seed=1)
    store.admit(pd.concat([small[0], large[0]], ignore_index=True), np.concatenate([small[1], large[1]]))
    scored = score(store, bundle)
    assert [one.slide for one in scored.pictures] == ["11", "9"]
    assert scored.pictures[0].picture.name == "slide-11.webp"
    assert all(one.picture.exists() and one.heatmap.exists() for one in scored.pictures)
    assert scored.report.read_text().count("<figure>") == 4
    assert scored.summary.slides == 2


def test_an_unlabelled_patient_is_scored(store, bundle, make_patches):
    store.admit(*make_patches(CELLS, labels=[None] * len(CELLS)))
    scored = score(store, bundle)
    assert scored.summary.true_fraction is None
    assert 'class="exposure unseen"' in scored.report.read_text()
    assert pd.read_parquet(scored.scores)["label"].isna().all()


def test_two_hospitals_patient_1001_are_two_people(store, admitted, bundle, make_patches):
    store.admit(*make_patches([(0, 0), (1, 1)], seed=5), hospital="west")
    west = score(store, bundle, hospital=Hospital("west"))
    assert west.n == 2
    assert score(store, bundle).n == len(CELLS)
    assert west.folder != score(store, bundle).folder


def test_the_nightly_list_shrinks_as_patients_are_scored(store, admitted, bundle, make_patches):
    store.admit(*make_patches(CELLS, patient="1000", seed=3))
    assert patients_to_score(store, bundle, OPTIONS) == [(EAST, "1000"), (EAST, PATIENT)]
    score(store, bundle)
    assert patients_to_score(store, bundle, OPTIONS) == [(EAST, "1000")]


STAGE = Context(own=0.5, neighbours=1.0, intercept=-0.3, n_patients=3)


@pytest.fixture
def neighbourly(bundle):
    """The bundle, whose policy has a stage of neighbours."""
    policy = bundle.record.policy.model_copy(update={"context": STAGE})
    return replace(bundle, name="bcd-idc/8", policy=policy)


def declare_complete(store, slide="5"):
    with store.write() as connection:
        record_complete(connection, "east", 1, [CompleteSlide("1001", slide, "declared")])


def test_a_complete_slide_has_a_second_probability_and_only_such_a_one(store, make_patches, neighbourly):
    slides = [make_patches(CELLS, labels=[0] * 5, slide=slide, seed=seed) for seed, slide in enumerate("56")]
    store.admit(pd.concat([patches for patches, _ in slides]), np.concatenate([pixels for _, pixels in slides]))
    assert pd.read_parquet(score(store, neighbourly).scores)["context_probability"].isna().all()
    declare_complete(store)

    scored = score(store, neighbourly)
    assert not scored.skipped  # what is complete is part of what was scored
    stored = pd.read_parquet(scored.scores)
    assert stored.columns.get_loc("context_probability") == stored.columns.get_loc("probability") + 1
    assert stored.loc[stored["slide"] == "6", "context_probability"].isna().all()
    whole = stored[stored["slide"] == "5"].set_index(["x", "y"])
    (left, right), alone = (whole.loc[(x, 1)] for x in (1, 51)), whole.loc[(151, 51)]
    assert left["context_probability"] == pytest.approx(sigmoid(0.5 * left["logit"] + right["logit"] - 0.3))
    others = whole.loc[[(101, 101), (201, 101)], "logit"].mean()
    assert alone["context_probability"] == pytest.approx(sigmoid(0.5 * alone["logit"] + others - 0.3))

    measured = json.loads((scored.folder / "patches-5.geojson").read_text())["features"][0]["properties"]
    assert IN_CONTEXT in measured["measurements"]
    report = scored.report.read_text()
    assert 'id="neighbours"' in report
    assert "uncertified: 3 complete patients, 10 are needed" in report


def test_a_bundle_without_the_stage_says_nothing_of_neighbours(store, admitted, bundle):
    declare_complete(store)
    scored = score(store, bundle)
    assert pd.read_parquet(scored.scores)["context_probability"].isna().all()
    assert 'id="neighbours"' not in scored.report.read_text()


@pytest.mark.parametrize(("pictures", "files"), [("report", 0), ("none", 0), ("full", 2)])
def test_pictures_are_left_as_the_options_ask(store, admitted, bundle, pictures, files):
    scored = score(store, bundle, ScoreOptions(pictures=pictures))
    assert len(list(scored.folder.glob("*.webp"))) == files
    assert len(scored.pictures) == files // 2
    assert (scored.folder / "patches-5.geojson").exists()
    assert ("data:image/webp" in scored.report.read_text()) == (pictures != "none")
    assert pd.read_parquet(scored.scores)["probability"].notna().all()
