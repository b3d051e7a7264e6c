"""Machines with homes of their own work on the study of another, over one Prefect server and one PostgreSQL.

At full size only. One of two is cut off in a trial, as by a power cut; the other gets it, and the study its budget.
tests/flows/test_elsewhere.py plays what the machine that waits does, tests/cli/test_worker.py what takes the runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
from free_ports import find_free_port
from hospital import BCD, wait_until
from patients import freeze_patches, list_patches

import flows
from bcd.cli.deployments import deploy
from bcd.cli.flow_runs import open_prefect_client
from bcd.networks.architecture import Architecture, Stage, Stem
from bcd.retraining.plan import write_plan
from bcd.runtime import url_answers
from bcd.search.notes import read_note_of_trial
from bcd.search.records import find_first_attempt_of_trial, read_trial_kind
from bcd.settings import Settings, load_settings
from bcd.snapshots.freeze import load_snapshot
from bcd.store.objects import put
from bcd.training.options import EnsembleOptions, TrainOptions

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.environ.get("BCD_TEST_FULL") != "1", reason="takes minutes: make deployed"),
]

POOL = "gpu"
TRIALS = 3
OPTIONS = f"""
[search]
pool = "{POOL}"
workers = 2
trials = {TRIALS}
epochs = 2
seeds = 1
best = 0
pruning = false
dissertation = false
heartbeat_seconds = 3

[training]
min_train_patients = 4
min_val_patients = 2
"""


class Machine:
    """A home of its own, which knows the others by its variables alone."""

    def __init__(self, home: Path, shared: dict[str, str]) -> None:
        self.home = home
        home.mkdir()
        (home / "bcd.toml").write_text(OPTIONS)
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        self.variables = own | shared | {"BCD_HOME": str(home)}

    def start(self, *arguments: str, **how: Any) -> subprocess.Popen[str]:
        # Also where the tests ignore Ctrl-C, as in the background of a shell.
        interruptible = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        how |= {"env": self.variables, "text": True, "start_new_session": True}
        return subprocess.Popen([BCD, *arguments], preexec_fn=interruptible, **how)  # noqa: PLW1509 no lock is taken

    def processes(self) -> list[psutil.Process]:
        """Lists everything that runs on this home."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get("BCD_HOME") == str(self.home) and process.pid != os.getpid():
                    found.append(process)
        return found

    def cut_off(self) -> None:
        """Kills everything at once."""
        while left := self.processes():
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=10)

    def does(self, trial: optuna.trial.FrozenTrial, study: str) -> bool:
        """Whether a worker of this home does a trial."""
        known = self.home / "work" / study / "home"
        return known.exists() and read_note_of_trial(trial, "home") == f"{known.read_text()} {trial.number}"


@pytest.fixture
def machines(
    prefect_server: None, postgres: Any, postgres_url: str, empty_database: Path, tmp_path: Path
) -> Iterator[list[Machine]]:
    """Three machines; the store of the first is shared with the others."""
    from prefect.settings import PREFECT_API_URL

    server = Machine(tmp_path / "server", {})
    (server.home / "mlflow").mkdir()
    shutil.copy(empty_database, server.home / "mlflow")
    port = find_free_port()
    shared = {
        "BCD_PREFECT_URL": PREFECT_API_URL.value(),
        "BCD_MLFLOW_URL": f"http://127.0.0.1:{port}",
        "BCD_CATALOG_URL": postgres_url,
        "BCD_STUDY_URL": postgres.url(postgres.make_database()),
    }
    page = [
        "-m",
        "uvicorn",
        "--factory",
        "bcd.cli.mlflow_page:make_mlflow_page",
        "--port",
        str(port),
        "--no-access-log",
    ]
    made = [Machine(tmp_path / name, shared) for name in ("hospital", "north", "south")]
    with subprocess.Popen([sys.executable, *page], env=server.variables, stderr=subprocess.DEVNULL):
        wait_until("MLflow", lambda: url_answers(shared["BCD_MLFLOW_URL"]))
        yield made
        for machine in (*made, server):
            machine.cut_off()


def freeze(settings: Settings) -> str:
    """Freezes a snapshot of 28 patients with four patches each, and returns its id."""
    splits = {f"{patient:02}": "val" if patient < 8 else "train" for patient in range(28)}
    patches = list_patches(splits, [0, 1, 0, 1], slide="1")
    pixels = np.random.default_rng(0).integers(0, 256, (len(patches), 50, 50, 3), dtype=np.uint8)
    return freeze_patches(settings, patches, pixels).id


@pytest.fixture
def snapshot(machines: list[Machine], monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a snapshot in the shared store; this process is the first machine's, which has deployed the flows."""
    hospital, *helpers = machines
    for name in ("BCD_HOME", "BCD_PREFECT_URL", "BCD_MLFLOW_URL", "BCD_CATALOG_URL", "BCD_STUDY_URL"):
        monkeypatch.setenv(name, hospital.variables[name])
    settings = load_settings()
    for helper in helpers:
        (helper.home / "store").symlink_to(hospital.home / "store")
    frozen = freeze(settings)
    deploy(settings, settings.prefect_url, flows.DEPLOYMENTS)
    return frozen


def test_a_machine_does_the_trials_of_another_until_ctrl_c(
    machines: list[Machine], snapshot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital, helper, _ = machines
    worker = helper.start("worker", "--pool", POOL)
    hospital.variables["BCD_SEARCH__TRIALS"] = "0"
    search = hospital.start("search", "--snapshot", snapshot, "--json", stdout=subprocess.PIPE)
    said, _ = search.communicate(timeout=600)
    assert [trial["label"] for trial in json.loads(said)["trials"]] == ["compact"]
    name, trials = read_study(load_settings())
    assert [helper.does(trial, name) for trial in trials] == [True]
    assert not list((hospital.home / "work").rglob("*.keras"))
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=300) == 130
    assert helper.processes() == []


def test_the_networks_of_an_ensemble_are_trained_by_a_machine_that_shares_a_bucket(
    bucket: object, machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.train import train

    hospital, helper, _ = machines
    for name in ("BCD_HOME", "BCD_PREFECT_URL", "BCD_MLFLOW_URL", "BCD_CATALOG_URL", "BCD_STUDY_URL"):
        monkeypatch.setenv(name, hospital.variables[name])
    monkeypatch.setenv("BCD_STORE_URL", "s3://east/bcd")
    helper.variables["BCD_STORE_URL"] = "s3://east/bcd"
    settings = load_settings()
    snapshot = load_snapshot(settings, freeze(settings))
    put(settings, settings.snapshots / snapshot.id)
    for batch in settings.batches.iterdir():
        put(settings, batch)
    deploy(settings, settings.prefect_url, flows.DEPLOYMENTS)
    tiny = Architecture(stem=Stem(filters=4, stride=5), stages=[Stage(filters=4, depth=1)])
    training = settings.options("training", TrainOptions, epochs=1)
    plan = write_plan(settings, snapshot, training=training, architecture=tiny, ensemble=EnsembleOptions(members=2))
    helper.start("worker", "--pool", POOL)
    trained = train(plan.key)
    assert [path.relative_to(plan.network(settings)).parts[0] for path in trained.paths] == ["member-1", "member-2"]
    assert sorted(path.name for path in (helper.home / "work" / plan.key / "members").iterdir()) == ["1", "2"]
    with open_prefect_client(settings.prefect_url) as client:
        runs = [run for run in client.read_flow_runs() if run.name.startswith("network ")]
    assert [run.state_type for run in runs] == ["COMPLETED", "COMPLETED"]


def test_a_study_is_shared_by_two_machines_and_ends_although_one_is_cut_off(
    machines: list[Machine], snapshot: str, tmp_path: Path
) -> None:
    hospital, *helpers = machines
    commands = {helper.home: helper.start("worker", "--pool", POOL) for helper in helpers}
    with (tmp_path / "said").open("w+") as said:
        search = hospital.start("search", "--snapshot", snapshot, "--json", stdout=said, stderr=subprocess.STDOUT)

        def look() -> Machine | None:
            assert search.poll() in (None, 0), Path(said.name).read_text()
            return _find_busy(helpers, *read_study(load_settings()))

        victim = wait_until("a trial at one of the two", look, patience=900)
        victim.cut_off()
        assert [helper for helper in helpers if commands[helper.home].poll() is not None] == [victim]
        assert search.wait(timeout=900) == 0, Path(said.name).read_text()
        result = json.loads(Path(said.name).read_text())
    name, trials = read_study(load_settings())
    assert [trial["state"] for trial in result["trials"] if trial["state"] != "too large"] == ["complete"] * (
        1 + TRIALS
    )
    assert not [trial for trial in trials if not trial.state.is_finished()]
    lost = [trial for trial in trials if trial.state.name == "FAIL" and "end" not in trial.user_attrs]
    assert lost, "nothing was cut off"
    ended = {find_first_attempt_of_trial(trial) for trial in trials if trial.user_attrs.get("end")}
    assert {find_first_attempt_of_trial(trial) for trial in lost} <= ended
    survivor = next(helper for helper in helpers if helper is not victim)
    assert any(survivor.does(trial, name) for trial in trials)
    assert not list((hospital.home / "work").rglob("*.keras"))  # it trained nothing itself


def read_study(settings: Settings) -> tuple[str, list[Any]]:
    """Returns the name and the trials of the study, or nothing where it has not begun."""
    storage = optuna.storages.RDBStorage(settings.study_storage.replace("postgresql://", "postgresql+psycopg://"))
    for study in storage.get_all_studies():
        if "refits" not in study.study_name:
            return study.study_name, storage.get_all_trials(study._study_id)
    return "", []


def _find_busy(helpers: list[Machine], study: str, trials: list[Any]) -> Machine | None:
    """Returns who does a trial that was proposed."""
    running = [trial for trial in trials if trial.state.name == "RUNNING" and read_trial_kind(trial) == "proposed"]
    return next((helper for trial in running for helper in helpers if helper.does(trial, study)), None)
