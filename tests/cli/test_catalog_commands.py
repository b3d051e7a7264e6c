"""`bcd hospital`, `labels` and `patient`, as a person types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from delivering import patch_files, write_folder

from bcd.admission.admit import admit
from bcd.drift.state import UNTRUSTED
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.drift import DriftRecord, record_drift
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

MARY = ("--by", "Mary", "--reason", "a letter")


def test_a_patient_s_life_in_the_catalog(settings: Settings, bcd, tmp_path: Path) -> None:
    settings.inbox.mkdir(parents=True)
    assert json.loads(bcd("hospital", "list", "--json")[1]) == []
    assert bcd("hospital", "declare", "north", "--identifiers", "raw", *MARY)[0] == 0
    assert (settings.inbox / "north").is_dir()  # for its deliveries
    code, _, said = bcd("hospital", "declare", "north", "--identifiers", "pseudonyms", *MARY)
    assert (code, "by Mary" in said) == (2, True)
    files = {**patch_files("Miller", [0, 2]), **patch_files("Smith", [4, 6])}
    admit(open_store(settings), write_folder(tmp_path / "delivery", files), Hospital("north"))

    (tmp_path / "labels.csv").write_text("name,label\nMiller_idx5_x1_y1.png,1\n")
    labels = ("label", "import", str(tmp_path / "labels.csv"), "--by", "Dr Lee", "--reason", "a second reading")
    assert bcd(*labels)[0] == 2
    assert re.search(r"\b1 labels .*\b0 taken back", bcd(*labels, "--hospital", "north")[1])
    assert not re.search(r"\b1 labels", bcd(*labels, "--hospital", "north")[1])
    assert bcd("label", "doubts")[0] == 0

    ring = [[0, 0], [100, 0], [100, 50], [0, 50], [0, 0]]
    said = {"objectType": "annotation", "classification": {"name": "Benign", "color": [0, 200, 0]}}
    area = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": said}
    (tmp_path / "drawn.geojson").write_text(json.dumps(area))
    drawn = ("label", "import", str(tmp_path / "drawn.geojson"), *labels[3:])
    assert "--hospital, --patient and --slide" in bcd(*drawn)[2]
    code, told, _ = bcd(*drawn, "--hospital", "north", "--patient", "Miller", "--slide", "5")
    assert (code, "Miller" in told) == (0, False)
    assert re.search(r"\b0 IDC, 2 no IDC, 0 .*, 0 ", told)
    assert re.search(r"\b1 labels .*\b0 taken back", told)
    code, _, told = bcd(*labels, "--hospital", "north", "--slide", "5")
    assert (code, "--slide" in told) == (2, True)

    assert "2 patches" not in bcd("patient", "erase")[1]
    code, said, _ = bcd("patient", "withdraw", "Miller", "--hospital", "north", *MARY)
    assert (code, "Miller" in said) == (0, False)
    [erasure] = json.loads(bcd("patient", "erase", "--dry-run", "--json")[1])
    assert (erasure["hospital"], sum(erasure["erased"].values()), erasure["models"]) == ("north", 2, [])
    for arguments in (["--dry-run"], []):
        assert "2 patches" in bcd("patient", "erase", *arguments)[1]
    assert "2 patches" not in bcd("patient", "erase")[1]


def test_these_commands_do_without_prefect(settings: Settings) -> None:
    run = "app(['patient', 'erase'], standalone_mode=False)"
    script = f"import sys; from bcd.cli.main import app; {run}; print(*sys.modules)"
    settings.inbox.mkdir(parents=True)
    environment = {**os.environ, "BCD_HOME": str(settings.home)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "bcd.retention.patients" in done.stdout.split()
    assert "prefect" not in done.stdout.split()


def test_status_says_which_deliveries_are_not_to_be_trusted(
    settings: Settings, bcd, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    store = open_store(settings)
    declare_hospital(store, "north", "pseudonyms", SignOff("Mary", "a letter"))
    admitted = admit(store, write_folder(tmp_path / "delivery", patch_files("Miller", [0, 2])), Hospital("north"))
    assert "not compared" in bcd("status")[1]
    state = {"reasons": [], "foreign": True}
    at = datetime(2026, 11, 23, tzinfo=UTC)
    told = DriftRecord(admitted.id, Hospital("north"), "bcd-idc/3", "admission", UNTRUSTED, state, at)
    record_drift(store, told)
    assert f"{UNTRUSTED}, foreign hospital" in bcd("status")[1]
    facts = json.loads(bcd("status", "--json")[1])
    assert facts["drift"] == {admitted.id: f"{UNTRUSTED}, foreign hospital"}
    assert (facts["gate"]["patients"], facts["gate"]["missing"], facts["gate"]["anchor"]) == (0, 10, None)


def test_status_says_what_waits_and_what_was_set_aside(settings: Settings, bcd) -> None:
    (settings.inbox / "north").mkdir(parents=True)
    (settings.inbox / "north" / "a.zip").write_bytes(b"PK")
    (settings.set_aside / "east").mkdir(parents=True)
    (settings.set_aside / "east" / "b.zip").write_bytes(b"7z")
    (settings.set_aside / "east" / "b.zip.txt").write_text("b.zip is a 7z archive.")
    code, said, _ = bcd("status")
    assert code == 0
    assert len(re.findall(r"\b1 delivery\b", said)) == 2
    assert "Until 10 more come" in said
    assert "`bcd hospital declare north" in said
