"""A home in which a zip was admitted, a network registered, decided on and made champion, and a patient scored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from delivering import patch_files, write_zip
from registered import Register, copy_home, make_settings
from stored import new_store

from bcd.admission.admit import admit
from bcd.bundle.registry import load_bundle
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.options import GateOptions
from bcd.gate.overrides import force_promotion
from bcd.gate.promotion import run_gate
from bcd.networks.architecture import PRESETS
from bcd.patches import Hospital, PatientId
from bcd.retraining.plan import Choice, write_choice, write_plan
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import score_patient
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

EAST = Hospital("east")
PATIENTS = [str(1001 + number) for number in range(12)]
LATE = "2001"  # delivered after the snapshot
PATCHES = 6
MARY = SignOff("Mary", "all identifiers are pseudonyms")
LEE = SignOff("Dr Lee", "looked at 30 slides")


@pytest.fixture(scope="session")
def recorded(make_once, empty_database: Path, register: Register) -> Path:
    """The home, and beside it `one.zip` and `two.zip` as they were delivered."""

    def fill(folder: Path) -> None:
        settings = make_settings(folder / "home", empty_database)
        with new_store(settings) as store:
            declare_hospital(store, EAST, "pseudonyms", MARY)
            for name, patients in {"one.zip": PATIENTS, "two.zip": [LATE]}.items():
                files: dict[str, bytes] = {}
                for patient in patients:
                    first = int(patient) * PATCHES
                    files |= patch_files(patient, range(first, first + PATCHES))
                delivered = write_zip(folder / name, files)
                waiting = settings.inbox / EAST / name
                waiting.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(delivered, waiting)
                admit(store, waiting, EAST)
                if name == "one.zip":
                    _make_champion(settings, store, register)
            bundle, options = load_bundle(settings), ScoreOptions()
            for patient in (PATIENTS[0], LATE):
                score_patient(store, bundle, EAST, PatientId(patient), options)

    return make_once("lineage", fill)


def _make_champion(settings: Settings, store: Store, register: Register) -> None:
    snapshot = freeze_snapshot(store, SplitOptions(key="k"))
    retraining = write_plan(settings, snapshot)
    plan = retraining.plan
    choice = Choice(
        architecture=PRESETS["compact"],
        training=plan.training,
        preparation=plan.preparation,
        study="study-0a1b",
        note="The default was best of 3.",
    )
    write_choice(settings, retraining, choice)
    (retraining.folder(settings) / "study.json").write_text("{}")
    register(settings, "red", key=retraining.key, snapshot=snapshot.id)
    key, evaluate = f"gate/{retraining.key}", EvaluateOptions(resamples=200)
    run_gate(store, key=key, snapshot=snapshot, challenger="1", options=GateOptions(approval=True), evaluate=evaluate)
    force_promotion(store, "1", LEE)


@pytest.fixture
def settings(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of the home."""
    monkeypatch.setenv("BCD_HOME", str(tmp_path / "home"))
    return copy_home(recorded / "home", tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with open_store(settings) as opened:
        yield opened
