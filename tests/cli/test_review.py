"""`bcd review`, as a person types it: the queue out, answers back, and what the next retraining learns from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from patients import list_patches, store_patches
from registered import copy_home

from bcd.bundle.registry import load_bundle
from bcd.patches import Hospital, PatientId
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import score_patient
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

SIGNED = ("--by", "Dr Lee", "--reason", "the queue of Monday")


LABELLED, UNLABELLED = [str(number) for number in range(6)], [str(number) for number in range(100, 107)]


@pytest.fixture(scope="module")
def scored(shared_settings: Settings, register, make_hospital) -> Settings:
    """A champion, patients with a label and patients without, of whom the champion has scored everyone."""
    register(shared_settings, "red", snapshot=make_hospital(shared_settings).id)
    open_mlflow_client(shared_settings).set_registered_model_alias(MODEL, "champion", "1")
    bundle = load_bundle(shared_settings, "champion")
    random = np.random.default_rng(0)
    with open_store(shared_settings) as store:
        declare_hospital(store, "east", "pseudonyms", SignOff("Mary", "test"))
        for names, labels in ((LABELLED, [1, 0, None]), (UNLABELLED, [None] * 12)):
            patches = list_patches(names, labels)
            pixels = random.integers(0, 255, (len(patches), 1, 1, 3)).astype(np.uint8)
            store_patches(store, patches, np.broadcast_to(pixels, (len(patches), 50, 50, 3)), name=names[0])
        freeze_snapshot(store, SplitOptions())
        for patient in LABELLED + UNLABELLED:
            score_patient(store, bundle, Hospital("east"), PatientId(patient), ScoreOptions())
    return shared_settings


@pytest.fixture
def home(scored: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A copy of it."""
    copied = copy_home(scored.home, tmp_path / "home")
    monkeypatch.setenv("BCD_HOME", str(copied.home))
    with open_store(copied) as store:
        yield store


def test_the_queue_is_answered_and_the_next_snapshot_learns_from_it(home: Store, bcd, tmp_path: Path) -> None:
    before = freeze_snapshot(home, SplitOptions()).patches
    asked = ("review", "next", "--patches", "8", "--to")
    code, said, complaint = bcd(*asked, tmp_path / "monday")
    assert (code, complaint) == (0, "")
    assert "contact-sheet.html" in said
    told = json.loads(bcd(*asked, tmp_path / "as-json", "--json")[1])
    table = pd.read_csv(tmp_path / "monday/patches.csv", dtype=str, keep_default_na=False)
    assert len(table) == 8
    assert {each["patient"] for each in told["patches"]} == set(table["patient"])
    assert {each["label"] for each in told["patches"]} == {None}
    assert (len(told["patches"]), told["to"]) == (8, str(tmp_path / "as-json"))
    assert set(table["patient"]) & set(UNLABELLED)
    assert set(table["patient"]) & set(LABELLED)
    table["label"] = ["1", "idc", "0", "no", "unsure", *[""] * 3]
    table.to_csv(tmp_path / "monday/patches.csv", index=False)
    back = ("review", "import", tmp_path / "monday/patches.csv", *SIGNED)
    assert re.search(r"\b4 labels .*\b1 confirmed", bcd(*back)[1].replace("\n", " "))
    assert bcd(*back)[1].startswith("Nothing changes")

    after = freeze_snapshot(home, SplitOptions())
    new = after.patches.merge(before, how="left", indicator=True).query("_merge == 'left_only'")
    assert len(new) == 4
    assert set(new["split"]) == {"train"}
    said = table[:4].astype({"x": "int64", "y": "int64"}).assign(said=[1, 1, 0, 0])
    both = new.merge(said[["patient", "slide", "x", "y", "said"]])
    assert both["label"].tolist() == both["said"].tolist()
    assert len(both) == 4

    # Neither the answered ones nor the unsure one is asked about again.
    bcd("review", "next", "--to", tmp_path / "tuesday")
    again = pd.read_csv(tmp_path / "tuesday/patches.csv", dtype=str)
    place = ["patient", "slide", "x", "y"]
    assert again[place].merge(table[:5][place]).empty
    assert len(again[place].merge(table[5:][place])) == 3


def test_suspicious_labels_are_answered_and_not_asked_about_again(home: Store, bcd, tmp_path: Path) -> None:
    assert bcd("review", "suspicious", "--to", tmp_path / "monday")[0] == 0
    table = pd.read_csv(tmp_path / "monday/patches.csv", dtype=str, keep_default_na=False)
    assert set(table["bcd_review"]) == {"suspicious"}
    stands = pd.read_csv(tmp_path / "monday/reasons.csv")
    table["label"] = stands["label"].astype(str)  # all of them are confirmed
    table.to_csv(tmp_path / "monday/patches.csv", index=False)
    said = bcd("review", "import", tmp_path / "monday/patches.csv", *SIGNED)[1]
    assert re.search(rf"Nothing changes.*\b{len(table)} confirmed", said.replace("\n", " "))
    code, said, _ = bcd("review", "suspicious", "--to", tmp_path / "tuesday")
    assert (code, (tmp_path / "tuesday").exists()) == (0, False)
    assert f"{len(table)} scored patches" in said


def test_a_folder_that_is_there_is_refused_before_anything_is_read(bcd, settings: Settings, tmp_path: Path) -> None:
    code, _, said = bcd("review", "next", "--to", tmp_path)
    assert (code, str(tmp_path) in said) == (2, True)


def test_without_a_champion_nothing_chooses(bcd, settings: Settings, tmp_path: Path) -> None:
    settings.inbox.mkdir(parents=True)
    code, _, said = bcd("review", "next", "--to", tmp_path / "monday")
    assert (code, "champion" in said) == (2, True)
