"""`bcd hospital`, `labels` and `patient`, as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.drift import DriftRecord, record_drift
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

MARY = ("--by", "Mary", "--reason", "a letter")


def test_a_patient_s_life_in_the_catalog(settings: Settings, bcd, tmp_path: Path) -> None:
    settings.inbox.mkdir(parents=True)
    assert "No hospital is declared yet" in bcd("hospital", "list")[1]
    assert bcd("hospital", "declare", "north", "--identifiers", "raw", *MARY)[0] == 0
    code, said = bcd("hospital", "declare", "north", "--identifiers", "pseudonyms", *MARY)
    assert (code, "by Mary" in said) == (2, True)
    admit(open_store(settings), _make_delivery(tmp_path / "delivery"), Hospital("north"))

    (tmp_path / "labels.csv").write_text("name,label\nMiller_idx5_x1_y51.png,1\n")
    labels = ("labels", "import", str(tmp_path / "labels.csv"), "--by", "Dr Lee", "--reason", "a second reading")
    assert bcd(*labels)[0] == 2
    assert "1 labels changed: 0 taken back" in bcd(*labels, "--hospital", "north")[1]
    assert "Nothing changes" in bcd(*labels, "--hospital", "north")[1]
    assert "No patch is in doubt" in bcd("labels", "doubts")[1]

    ring = [[0, 50], [100, 50], [100, 100], [0, 100], [0, 50]]
    said = {"objectType": "annotation", "classification": {"name": "Benign", "color": [0, 200, 0]}}
    area = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": said}
    (tmp_path / "drawn.geojson").write_text(json.dumps(area))
    drawn = ("labels", "import", str(tmp_path / "drawn.geojson"), *labels[3:])
    assert "--hospital, --patient and --slide" in bcd(*drawn)[1]
    code, told = bcd(*drawn, "--hospital", "north", "--patient", "Miller", "--slide", "5")
    assert (code, "Miller" in told) == (0, False)
    assert "0 IDC, 2 no IDC, 0 between the two, 0 under both classes" in told
    assert "1 labels changed: 0 taken back" in told
    code, told = bcd(*labels, "--hospital", "north", "--slide", "5")
    assert (code, "--patient and --slide are for annotations" in told) == (2, True)

    assert "No patient is withdrawn" in bcd("patient", "erase")[1]
    code, said = bcd("patient", "withdraw", "Miller", "--hospital", "north", *MARY)
    assert (code, "is withdrawn" in said, "Miller" in said) == (0, True, False)
    assert "would remove: pixels of 2 patches" in bcd("patient", "erase", "--dry-run")[1]
    assert "removed: pixels of 2 patches" in bcd("patient", "erase")[1]
    assert "nothing is left to remove" in bcd("patient", "erase")[1]


def test_these_commands_do_without_prefect(settings: Settings) -> None:
    run = "app(['patient', 'erase'], standalone_mode=False)"
    script = f"import sys; from bcd.cli.main import app; {run}; print(*sys.modules)"
    settings.inbox.mkdir(parents=True)
    environment = {**os.environ, "BCD_HOME": str(settings.home)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "No patient is withdrawn" in done.stdout
    assert "prefect" not in done.stdout.split()


def _make_delivery(folder: Path) -> Path:
    folder.mkdir()
    random = np.random.default_rng(1)
    for patient in ("Miller", "Smith"):
        for column in range(2):
            picture = random.integers(60, 220, (50, 50, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"{patient}_idx5_x{1 + 50 * column}_y51_class0.png"), picture)
    return folder


def test_status_says_which_deliveries_are_not_to_be_trusted(
    settings: Settings, bcd, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    store = open_store(settings)
    declare_hospital(store, "north", "pseudonyms", SignOff("Mary", "a letter"))
    admitted = admit(store, _make_delivery(tmp_path / "delivery"), Hospital("north"))
    assert "not compared" in bcd("status")[1]
    state = {"reasons": [], "foreign": True}
    at = datetime(2026, 11, 23, tzinfo=UTC)
    told = DriftRecord(admitted.id, Hospital("north"), "bcd-idc/3", "admission", "not to be trusted", state, at)
    record_drift(store, told)
    assert "not to be trusted, foreign hospital" in bcd("status")[1]
    assert json.loads(bcd("status", "--json")[1])["drift"] == {admitted.id: "not to be trusted, foreign hospital"}


def test_status_says_what_waits_and_what_was_set_aside(settings: Settings, bcd) -> None:
    (settings.inbox / "north").mkdir(parents=True)
    (settings.inbox / "north" / "a.zip").write_bytes(b"PK")
    (settings.set_aside / "east").mkdir(parents=True)
    (settings.set_aside / "east" / "b.zip").write_bytes(b"7z")
    (settings.set_aside / "east" / "b.zip.txt").write_text("b.zip is a 7z archive.")
    code, said = bcd("status")
    assert code == 0
    assert "1 delivery waits in" in said
    assert "bcd hospital declare north" in said
    assert "1 delivery was refused as a whole" in said
