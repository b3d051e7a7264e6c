"""A lineage goes from the delivered bytes to the report, and says what is missing instead of stopping."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from delivering import patch_files, picture, write_zip

from bcd.admission.admit import admit
from bcd.bundle.registry import load_bundle
from bcd.errors import BcdError, NotFoundError
from bcd.gate.adoption import make_released_champion
from bcd.lineage.link import Lineage
from bcd.lineage.trace import trace
from bcd.patches import Hospital, PatientId, SlideId
from bcd.retention.patients import erase_withdrawn
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import score_patient
from bcd.snapshots.freeze import find_snapshot
from bcd.store.batches import read_batch_pixels
from bcd.store.frames import Frame, SlideFrame, store_frames
from bcd.store.hospitals import declare_hospital
from bcd.store.ledger import list_ledger
from bcd.store.revisions import import_labels
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.store.withdrawals import record_withdrawal
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

EAST, PATIENT, LATE = Hospital("east"), "1001", "2001"
PATCH = "1001_idx5_x51_y1"
MODEL_KINDS = ["snapshot", "study", "training", "bundle", "policy", "decision", "decision"]


def kinds(lineage: Lineage) -> list[str]:
    return [link.kind for link in lineage.links]


def missing(lineage: Lineage) -> set[str]:
    return {link.kind for link in lineage.links if link.missing}


@pytest.mark.parametrize(("column", "row"), [(137, 71), (322, 99), (50, 50)])
def test_a_pixel_of_a_report_is_followed_to_the_bytes_of_the_zip_s_member(
    store: Store, recorded: Path, column: int, row: int
) -> None:
    scored = next(one.folder for one in list_ledger(store) if one.patient == PATIENT)
    page = (store.settings.home / scored / "report.html").read_text("utf-8")
    slide, width, height, picture = decode_slide_in_report(page)
    [of_slide] = json.loads(re.search(r'id="scores">(.*?)</script>', page, re.DOTALL)[1])["slides"]
    assert picture.shape == (height, width, 3)  # a pixel of the picture is one of the slide

    x = 1 + 50 * (column // 50 + of_slide["column"])
    y = 1 + 50 * (row // 50 + of_slide["row"])
    lineage = trace(store, f"{PATIENT}_idx{slide}_x{x}_y{y}")

    report = lineage.links[-1]
    assert (report.kind, report.where) == ("report", f"{scored}/report.html")
    (file,) = [link for link in lineage.behind(report) if link.kind == "file"]
    (delivery,) = [link for link in lineage.links if link.key in file.previous]
    assert delivery.where == "received/east/one.zip"
    assert (store.settings.home / delivery.where).read_bytes() == (recorded / "one.zip").read_bytes()
    with zipfile.ZipFile(store.settings.home / delivery.where) as archive:
        members = {hashlib.sha256(archive.read(name)).hexdigest(): archive.read(name) for name in archive.namelist()}
    decoded = {key: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for key, data in members.items()}
    left, top = column // 50 * 50, row // 50 * 50
    shown = picture[top : top + 50, left : left + 50].astype(int)
    distances = {key: np.abs(shown - pixels).mean() for key, pixels in decoded.items()}
    assert min(distances, key=distances.__getitem__) == file.sha256  # of all members this one is the picture's

    assert lineage.patches is not None
    (at,) = np.flatnonzero((lineage.patches["x"] == x) & (lineage.patches["y"] == y))
    stored = read_batch_pixels(store.settings, lineage.patches.iloc[[at]])[0]
    np.testing.assert_array_equal(stored, decoded[file.sha256][..., ::-1])


def decode_slide_in_report(page: str) -> tuple[str, int, int, np.ndarray]:
    """Returns the slide that a report shows, its width and height, and the picture, BGR."""
    (found,) = re.findall(
        r'<image id="picture-(\w+)" href="data:image/webp;base64,([^"]*)" width="(\d+)" height="(\d+)"', page
    )
    slide, encoded, width, height = found
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    return str(slide), int(width), int(height), np.asarray(picture, np.uint8)


def test_every_link_of_the_chain_is_there_with_hash_time_and_who(store: Store) -> None:
    lineage = trace(store, PATCH)
    assert kinds(lineage) == ["delivery", "file", "batch", "patch", *MODEL_KINDS, "report"]
    assert missing(lineage) == set()
    assert {link.kind for link in lineage.behind(lineage.links[-1])} == set(kinds(lineage))
    for link in lineage.links:
        assert len(link.sha256) == 64
        if link.kind != "study":  # its search was never run, so MLflow knows no time
            assert link.at is not None
            assert link.by
    assert [link.by for link in lineage.of("decision")] == ["the gate", "Dr Lee"]
    assert lineage.links[-1].by == "bcd-idc/1"


def test_each_link_names_what_is_stored(store: Store) -> None:
    found = {link.kind: link for link in trace(store, PATCH).links}
    patches = pd.read_parquet(store.settings.home / Path(found["report"].where).with_name("scores.parquet"))
    probability = float(patches.loc[patches["x"] == 51, "probability"].iloc[0])
    assert f"{probability:.4f}" in found["report"].facts[-1]
    index = pd.read_parquet(store.settings.home / found["batch"].where / "index.parquet")
    row = index[(index["patient"] == PATIENT) & (index["x"] == 51)].iloc[0]
    assert (found["file"].sha256, found["patch"].sha256) == (row["sha256"], row["pixel_sha256"])
    assert found["batch"].sha256 == patches["batch"].iloc[0]
    assert (store.settings.home / found["bundle"].where / "bundle.json").is_file()
    assert found["training"].sha256 == load_bundle(store.settings).record.engine.sha256
    assert "Mary" in " ".join(found["delivery"].facts)


def test_a_patient_who_came_after_the_snapshot_has_two_ways_to_the_report(store: Store) -> None:
    lineage = trace(store, LATE)
    assert kinds(lineage) == ["delivery", "file", "batch", "delivery", "batch", *MODEL_KINDS, "report"]
    own, trained = lineage.of("batch")
    assert own.key in lineage.links[-1].previous
    assert own.key not in lineage.of("snapshot")[0].previous
    assert trained.key in lineage.of("snapshot")[0].previous
    (fact,) = [fact for fact in lineage.of("snapshot")[0].facts if f"east/{LATE}" in fact]
    assert not re.search(r"\b(train|val|gate|test)\b", fact)
    assert lineage.patches is not None
    assert lineage.patches["probability"].notna().all()
    (file,) = lineage.of("file")
    listed = "\n".join(sorted(lineage.patches["file_sha256"]))
    assert file.sha256 == hashlib.sha256(listed.encode()).hexdigest()


def test_a_report_is_named_by_its_file_or_folder_and_a_patient_as_tables_show_it(store: Store) -> None:
    asked = trace(store, "east/1001")
    folder = next(one.folder for one in list_ledger(store) if one.patient == PATIENT)
    home = store.settings.home
    for name in (folder, f"{folder}/report.html", str(home / folder), str(home / folder / "report.html")):
        assert trace(store, name).links == asked.links
    with pytest.raises(NotFoundError, match="scores/east/1001/none"):
        trace(store, "scores/east/1001/none")


def test_a_version_is_traced_to_the_batches_that_it_learned_from(store: Store) -> None:
    for name in ("champion", "1", "bcd-idc/1"):
        lineage = trace(store, name)
        assert kinds(lineage) == ["delivery", "batch", *MODEL_KINDS]
        assert lineage.patches is None


@pytest.mark.parametrize("name", ["9999", "bcd-idc/9", "challenger", "1001_idx5_x9951_y1", "9999_idx5_x51_y1"])
def test_what_nobody_knows_is_an_error(store: Store, name: str) -> None:
    with pytest.raises(NotFoundError):
        trace(store, name)


def test_a_name_of_both_a_patient_and_a_version_is_asked_about(store: Store, tmp_path: Path) -> None:
    admit(store, write_zip(tmp_path / "three.zip", patch_files("1", [1, 2])), EAST)
    with pytest.raises(BcdError, match="bcd-idc/1"):
        trace(store, "1")
    assert trace(store, "bcd-idc/1").links[-1].kind == "decision"
    unscored = trace(store, "1", "east")
    assert missing(unscored) == {"report"}


def test_labels_that_a_person_revised_are_links_with_the_person(store: Store, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("patient,slide,x,y,label\n1001,5,51,1,0\n1001,5,1,1,1\n")
    import_labels(store, table, hospital="east", sign_off=SignOff("Dr Roe", "second reading"))
    (of_patch,), (of_patient,) = (trace(store, what).of("labels") for what in (PATCH, PATIENT))
    assert (of_patch.by, of_patient.by) == ("Dr Roe", "Dr Roe")
    assert any(re.search(r"\b2\b.*second reading", fact) for fact in of_patient.facts)
    assert of_patch.key not in trace(store, PATCH).links[-1].previous  # the report is older
    score_patient(store, load_bundle(store.settings), EAST, PatientId(PATIENT), ScoreOptions())
    assert of_patch.key in trace(store, PATCH).links[-1].previous


def test_a_patch_that_bcd_cut_is_told_by_its_place_on_the_slide(store: Store) -> None:
    with store.write() as connection:
        store_frames(
            connection,
            Hospital("east"),
            1,
            [SlideFrame(PatientId("1001"), SlideId("5"), Frame(0.5, 0.5, left=0, top=0))],
        )
    (patch,) = trace(store, PATCH).of("patch")
    assert re.findall(r"\d+", patch.facts[-1])[-4:] == ["400", "800", "0", "400"]


def test_what_came_after_a_report_is_not_what_it_was_made_of(store: Store, tmp_path: Path) -> None:
    before = trace(store, PATIENT).links[-1].previous
    files = {"1001/1/1001_idx5_x951_y1_class1.png": picture(7)}
    admit(store, write_zip(tmp_path / "later.zip", files), EAST)
    lineage = trace(store, PATIENT)
    assert len(lineage.of("batch")) == 2
    assert lineage.links[-1].previous == before
    (report,) = trace(store, "1001_idx5_x951_y1").of("report")
    assert [key.partition(" ")[0] for key in report.previous] == ["decision"]
    assert report.facts[-1] != trace(store, PATCH).of("report")[0].facts[-1]


def test_of_an_erased_patient_it_says_what_went_and_what_stays(store: Store) -> None:
    record_withdrawal(store, LATE, hospital="east", sign_off=SignOff("Mary", "a letter"))
    (before,) = trace(store, LATE).of("withdrawal")
    assert (before.by, before.at is not None) == ("Mary", True)
    assert any(re.search(r"\b6 patches.*`bcd patient erase`", fact) for fact in before.facts)
    erase_withdrawn(store)

    lineage = trace(store, LATE)
    (after,) = lineage.of("withdrawal")
    assert not any("`bcd patient erase`" in fact for fact in after.facts)
    assert any("two.zip" in fact for fact in after.facts)
    assert any(re.search(rf"\b6\b.*east/{LATE}", fact) for fact in lineage.of("batch")[0].facts)
    report = lineage.links[-1]
    assert (report.where, report.sha256, report.by) == ("", "", "bcd-idc/1")
    assert report.missing
    assert lineage.of("file")[0].sha256  # what was delivered is known by its hash for ever


def test_pixels_that_a_model_needs_stay_and_the_lineage_says_so(store: Store) -> None:
    record_withdrawal(store, PATIENT, hospital="east", sign_off=SignOff("Mary", "a letter"))
    erase_withdrawn(store)
    (withdrawal,) = trace(store, PATCH).of("withdrawal")
    assert any(re.search(r"\b6\b.*bcd-idc/1\b", fact) for fact in withdrawal.facts)


def test_what_was_removed_is_a_link_that_says_so(store: Store) -> None:
    settings = store.settings
    snapshot = trace(store, "champion").of("snapshot")[0].sha256
    shutil.rmtree(settings.work)
    shutil.rmtree(find_snapshot(settings, snapshot))
    lineage = trace(store, PATIENT)
    assert missing(lineage) == {"snapshot", "study", "training"}
    assert lineage.of("snapshot")[0].sha256 == snapshot  # the bundle names it

    batch = lineage.of("batch")[0].sha256
    shutil.rmtree(settings.batches / batch)
    assert missing(trace(store, PATIENT)) == {"file", "batch", "snapshot", "study", "training"}

    shutil.rmtree(settings.home / lineage.links[-1].where.rpartition("/")[0])
    open_mlflow_client(settings).delete_model_version(MODEL, "1")
    gone = trace(store, PATIENT)
    assert missing(gone) == {"file", "batch", "bundle", "report"}
    assert [link.by for link in gone.of("decision")] == ["the gate", "Dr Lee"]
    assert kinds(trace(store, "bcd-idc/1")) == ["bundle", "decision", "decision"]


def test_the_network_of_the_wheel_was_trained_elsewhere(registry_settings, tmp_path: Path) -> None:
    from stored import new_store

    with new_store(registry_settings) as store:
        declare_hospital(store, EAST, "pseudonyms", SignOff("Mary", "test"))
        make_released_champion(store, SignOff("Mary", "to begin with"))
        lineage = trace(store, "champion")
        assert kinds(lineage) == ["snapshot", "study", "training", "bundle", "policy", "decision"]
        assert missing(lineage) == {"snapshot", "study", "training"}
        assert lineage.of("training")[0].sha256
        assert lineage.links[-1].by == "Mary"
