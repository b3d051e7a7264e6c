"""A hospital's week, and the three uses, against real servers from the wheel, as a hospital would have them.

The week: deliveries are dropped into the inbox and nothing is typed; batches, retrainings by rule, verdicts, a
champion and scored patients are what comes of it. It is played in a network in which there is nothing but this
machine, where this user may make one, and every attempt to reach beyond it is counted.

1. A zip dropped into the inbox is admitted by a run of its own, whose event starts `retrain`; the pool takes one run
   at a time, and no run waits for another that it holds the place of.
2. The MLflow server lists runs that can be told apart and compared.
3. `score` runs on a schedule, and is started for one patient with typed parameters; it leaves its pictures.

With BCD_TEST_FULL=1 there are five deliveries instead of two, and a second retraining begins on Wednesday, whose
process is killed.

Then everything is stopped or killed at random moments, and the next delivery is admitted nevertheless: once,
thirty with BCD_TEST_FULL=1. What is left in the user's home, in the temporary folder and in shared memory: nothing.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from closed_network import WatchedNetwork, watch_network
from delivering import patch_files, write_zip
from hospital import (
    BCD,
    Hospital,
    draw_deliveries,
    find_free_ports,
    kill_processes,
    list_processes,
    run_bcd,
    wait_until,
)

from bcd.settings import load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.ledger import list_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store
from bcd.synthetic.options import HospitalOptions

pytestmark = pytest.mark.integration
needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")

JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
SHARED_MEMORY = Path("/dev/shm")

FULL = os.environ.get("BCD_TEST_FULL") == "1"

WEEK = (
    {"monday": 16, "tuesday": 6, "wednesday": 6, "thursday": 2, "friday": 3} if FULL else {"monday": 16, "friday": 3}
)
"""Patients of each day's delivery; ten new ones begin a retraining: on Monday, at full size on Wednesday too."""

RETRAININGS = 2 if FULL else 1


def _declare(hospital: str) -> None:
    with open_store(load_settings()) as store:
        declare_hospital(store, hospital, "pseudonyms", SignOff("Mary", "test"))


def _held_by_nobody(files: set[Path]) -> list[Path]:
    """Other tests run meanwhile: what a living process uses is not left over."""
    used = set()
    for process in psutil.process_iter():
        with suppress(OSError):  # it has ended, or is somebody else's
            used |= {line.split()[-1] for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines()}
    return sorted(file for file in files if file.exists() and str(file) not in used)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedNetwork]:
    """The network in which the module is played."""
    with watch_network(tmp_path_factory.mktemp("noted")) as network:
        yield network


@pytest.fixture(scope="module")
def home(
    prefect_database: Path, empty_database: Path, tiny_options: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A BCD_HOME on which nothing has run yet."""
    home = tmp_path_factory.mktemp("hospital") / "home"
    for name, database in (("prefect", prefect_database), ("mlflow", empty_database)):
        (home / name).mkdir(parents=True)
        shutil.copy(database, home / name)
    (home / "bcd.toml").write_text(tiny_options)
    return home


@pytest.fixture(scope="module")
def hospital(
    home: Path, network: WatchedNetwork, site: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hospital]:
    ports = find_free_ports()
    with pytest.MonkeyPatch.context() as patch:
        # Flow runs must not be drawn into the server of another test.
        for variable in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI", JOBS):
            patch.delenv(variable, raising=False)
        patch.setenv("BCD_HOME", str(home))
        for variable, value in network.variables(site).items():  # before the project's folder
            patch.setenv(variable, value)
        user, temporary = tmp_path_factory.mktemp("user"), Path(tempfile.mkdtemp(prefix="bcd-servers-"))
        patch.setenv("HOME", str(user))
        patch.setenv("TMPDIR", str(temporary))
        shared_before = set(SHARED_MEMORY.iterdir())
        for name, port in ports.items():
            patch.setenv(f"BCD_{name.upper()}_PORT", str(port))
        started = run_bcd("up")
        try:
            assert started.returncode == 0, started.stdout + started.stderr
            yield Hospital(home, ports, started.stdout)
        finally:
            stopped = run_bcd("down")
        assert "worker, prefect, mlflow, studies" in stopped.stdout
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "a server outlived `bcd down`"
    assert list_processes(home) == []
    assert list(user.rglob("*")) == []
    assert list(temporary.iterdir()) == []
    assert _held_by_nobody(set(SHARED_MEMORY.iterdir()) - shared_before) == []
    temporary.rmdir()


def test_a_hospitals_week(hospital: Hospital, tmp_path: Path) -> None:
    options = load_settings().options("synthetic", HospitalOptions, large_patients=0)
    deliveries = draw_deliveries(options, WEEK, tmp_path)
    assert run_bcd("up").returncode == 0  # once more changes nothing
    for name in ("ingest", "retrain", "score"):
        [schedule] = hospital.deployment(name)["schedules"]
        assert (schedule["active"], "cron" in schedule["schedule"]) == (True, True)
    hospital.prefect.patch("/work_pools/bcd", json={"concurrency_limit": 1}).raise_for_status()
    _declare("east")
    inbox = hospital.home / "inbox/east"
    inbox.mkdir(parents=True)
    for day, delivery in deliveries.items():
        shutil.copy(delivery, inbox)
        wait_until(f"the admission of {day}", (hospital.home / f"received/east/{day}.zip").exists)
        if day == "monday":
            wait_until("the first champion", lambda: len(_list_verdicts(hospital)) == 1)
        if FULL and day == "wednesday":
            wait_until("its search", lambda: any(name.startswith("search on") for name in hospital.list_running()))
            hospital.kill_flow_process()  # the next delivery's event makes up for it
    wait_until("all verdicts", lambda: len(_list_verdicts(hospital)) == RETRAININGS)
    hospital.bring_night("score")
    wait_until("the night's scoring", lambda: hospital.finished("score"))
    _everybody_was_scored_once_with_a_report(hospital, deliveries["friday"])
    _the_status_tells_the_week(hospital)
    wait_until("the end of all runs", lambda: not hospital.list_running())  # what was killed could run for ever
    hospital.prefect.patch("/work_pools/bcd", json={"concurrency_limit": None}).raise_for_status()


def _list_verdicts(hospital: Hospital) -> list[dict[str, Any]]:
    """Lists the retrainings that came to a verdict; those that were not due came to none."""
    assert hospital.flow_runs("retrain", "FAILED") == []
    return [
        run for run in hospital.flow_runs("retrain", "COMPLETED") if "the gate decided" in run["state"]["message"]
    ]


def _everybody_was_scored_once_with_a_report(hospital: Hospital, last: Path) -> None:
    with zipfile.ZipFile(last) as archive:
        delivered = {name.partition("/")[0] for name in archive.namelist()}
    with open_store(load_settings()) as store:
        entries = list_ledger(store)
    assert len(delivered) == WEEK["friday"]
    assert delivered <= {entry.patient for entry in entries}
    assert Counter(entry.patient for entry in entries).most_common(1)[0][1] == 1
    assert len(entries) == sum(WEEK.values())
    for entry in entries:
        assert (entry.status, entry.error) == ("scored", None)
        assert "Research use only" in (hospital.home / entry.folder / "report.html").read_text()


def _the_status_tells_the_week(hospital: Hospital) -> None:
    status = hospital.status()
    told = [(batch["name"], batch["patients"]) for batch in status["batches"]]
    assert told == [(f"{day}.zip", patients) for day, patients in WEEK.items()]
    assert [model["verdict"] for model in status["models"] if model["version"] == "1"] == ["PROMOTE"]
    assert len(status["models"]) == RETRAININGS
    assert all(model["verdict"] for model in status["models"])
    [champion] = [model for model in status["models"] if "champion" in model["aliases"]]
    assert {score["bundle"] for score in status["scores"]} == {f"bcd-idc/{champion['version']}"}
    assert "no retraining is due" in status["due"]
    assert len(status["servers"]) == 1
    assert "a worker" in status["servers"][0]
    assert (status["stuck"], status["set_aside"]) == ([], 0)


def test_nothing_reached_beyond_this_machine(hospital: Hospital, network: WatchedNetwork) -> None:
    assert "127.0.0.1" in network.list_addresses()
    assert network.list_addresses_outside() == set()
    if not network.is_closed:
        pytest.skip("the kernel counts for all processes in a network of loopback alone, which only root may make")
    assert network.count_attempts() == {}


def test_an_attempt_to_reach_beyond_this_machine_is_counted_and_noted(tmp_path: Path) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    with watch_network(tmp_path) as network:
        environment = os.environ | network.variables()
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
        assert network.list_addresses_outside() == {"192.0.2.1"}
        assert not network.is_closed or network.count_attempts() == {"OutNoRoutes": 1}


def test_the_three_uses(hospital: Hospital, site: Path) -> None:
    _what_runs_is_the_wheel(hospital, site)
    _each_delivery_is_a_run_whose_event_starts_a_retraining(hospital)
    _mlflow_compares_runs(hospital)
    _a_patient_is_scored_from_the_dashboard(hospital)
    _a_form_that_asks_for_what_cannot_be_is_answered_in_a_sentence(hospital)


def _what_runs_is_the_wheel(hospital: Hospital, site: Path) -> None:
    deployed = hospital.prefect.post("/deployments/filter", json={}).raise_for_status().json()
    names = {"ingest", "retrain", "score", "trials", "member", "monitor", "approve"}
    names |= {"search", "train", "evaluate", "promote", "reconcile", "backup"}
    assert {each["name"] for each in deployed} == names
    for each in deployed:  # a module, which is what the worker's Python finds first
        assert (each["entrypoint"], each["pull_steps"]) == (f"flows.{each['name']}.{each['name']}", [])
    found = psutil.Process(hospital.daemon("worker")).environ()["PYTHONPATH"]
    assert found.split(os.pathsep)[0] == str(site)


def _a_form_that_asks_for_what_cannot_be_is_answered_in_a_sentence(hospital: Hospital) -> None:
    """Of what the form holds, before the flow begins; by the flow: tests/integration/test_passwords.py."""
    run = hospital.start("retrain", splits={"train": 0.9})
    state = wait_until("a sentence", lambda: hospital.ended(run))
    assert (state["type"], "sum to" in state["message"]) == ("FAILED", True), state["message"]
    assert "Traceback" not in hospital.log(run)


@needs_browser
def test_a_browser_shows_the_form_and_the_runs_and_asks_nobody_else(hospital: Hospital, tmp_path: Path) -> None:
    prefect = hospital.prefect.base_url
    form = f"{prefect.copy_with(path='/deployments/deployment/')}{hospital.deployment('score')['id']}/run"
    shown, asked = _look(form, tmp_path)
    fields = hospital.deployment("score")["parameter_openapi_schema"]["properties"]
    for name in ("patient", "hospital"):
        assert escape(fields[name]["description"], quote=False) in shown
    assert asked == {prefect.netloc.decode()}
    runs = re.search(r"http://\S+workflowType=machine_learning\S+", hospital.pages)[0]
    shown, asked = _look(runs, tmp_path)
    assert re.search(r">retrain [0-9a-f]{6} [0-9a-f]{4} [^<]+<", shown)
    assert all(f">{column}<" in shown for column in ("bcd.verdict", "bcd.snapshot", "test_auroc_pooled"))
    assert ">gate bcd-idc/" not in shown
    assert asked == {urlsplit(runs).netloc}
    compared, _ = _look(f"{runs.replace('=retrainings', '=trials-compared')}&compareRunsMode=CHART", tmp_path)
    drawn = {"Figures", "multiply_adds vs. val_score", "trial 0 (compact)"}
    assert {each for each in drawn if f">{each}<" in compared} == drawn
    studies = re.search(r"http://\S+/dashboard/", hospital.pages)[0]
    shown, asked = _look(studies, tmp_path)
    assert re.search(r"\d{4}-\d\d-\d\d-[0-9a-f]{8}-[0-9a-f]{6}", shown)
    assert asked == {urlsplit(studies).netloc}
    # The dashboard that opens by itself is the one that does not ask an analytics host.
    assert _look(str(prefect.copy_with(path="/")), tmp_path)[1] == {prefect.netloc.decode()}


@needs_browser
def test_the_browser_records_what_a_page_asks_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<script>fetch("http://analytics.invalid/collect")</script><img src="a.png">'
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    _, asked = _look(f"http://127.0.0.1:{server.server_port}/index.html", tmp_path)
    server.shutdown()
    assert asked == {f"127.0.0.1:{server.server_port}", "analytics.invalid"}


def _stop_while_it_works(hospital: Hospital, how: str, seconds: float) -> None:
    hospital.start("ingest")
    if how == "kill while it starts":
        assert run_bcd("down").returncode == 0
        with subprocess.Popen([BCD, "up"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
            time.sleep(3 * seconds)
            starting.kill()
    else:
        time.sleep(seconds)
    if how == "down":
        assert run_bcd("down").returncode == 0
    else:
        kill_processes(hospital.home)


@pytest.mark.parametrize("moment", range(30 if os.environ.get("BCD_TEST_FULL") else 1))
def test_whenever_it_was_stopped_or_killed_the_next_delivery_is_admitted(hospital: Hospital, moment: int) -> None:
    chance = random.Random(moment)
    how = ("kill", "down", "kill while it starts")[moment % 3]
    _declare("west")
    _deliver(hospital, f"during{moment}", 2 * moment)
    _stop_while_it_works(hospital, how, chance.uniform(0, 8))
    started = run_bcd("up")
    assert started.returncode == 0, started.stdout + started.stderr
    _deliver(hospital, f"after{moment}", 2 * moment + 1)
    hospital.start("ingest")
    for name in (f"during{moment}", f"after{moment}"):
        wait_until(f"admission after {how}", (hospital.home / f"received/west/{name}.zip").exists)


def _deliver(hospital: Hospital, name: str, number: int) -> None:
    """Puts a delivery of one patch, of a patient of that name, into the inbox."""
    write_zip(hospital.home / f"inbox/west/{name}.zip", patch_files(name, [number]))


def _look(url: str, folder: Path) -> tuple[str, set[str]]:
    """Opens a page in a browser; returns what its scripts made of it, and which hosts it asked for anything."""
    log = folder / "requests.json"
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", *quiet]
    command.append("--window-size=1500,1200")  # MLflow draws no chart that is out of sight
    command += [f"--log-net-log={log}", "--virtual-time-budget=20000", "--dump-dom", url]
    environment = {**os.environ, "HOME": str(folder)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout
    recorded = json.loads(log.read_text())
    start = recorded["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [event["params"] for event in recorded["events"] if event["type"] == start and "params" in event]
    # What the browser asks for itself has no page as its initiator.
    asked = {urlsplit(each["url"]).netloc for each in requests if each.get("initiator", "").startswith("http")}
    return shown, asked


def _each_delivery_is_a_run_whose_event_starts_a_retraining(hospital: Hospital) -> None:
    runs = hospital.finished("ingest")
    assert {run["name"] for run in runs} == {f"ingest east {day}.zip" for day in WEEK}
    assert {"delivery": "east/monday.zip", "hospital": "east"} in [run["parameters"] for run in runs]
    assert {run["created_by"]["type"] for run in _list_verdicts(hospital)} == {"AUTOMATION"}
    assert len(hospital.flow_runs("retrain", "CRASHED")) == (1 if FULL else 0)


def _mlflow_compares_runs(hospital: Hospital) -> None:
    experiment = hospital.mlflow.get("/experiments/get-by-name", params={"experiment_name": "bcd"}).json()
    wanted = {"experiment_ids": [experiment["experiment"]["experiment_id"]]}
    runs = hospital.mlflow.post("/runs/search", json=wanted).raise_for_status().json()["runs"]
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
    top = [tag for tag in tags if "mlflow.parentRunId" not in tag]
    # Beside retrainings, a champion that was evaluated again on new gate patients.
    assert {tag["mlflow.runName"].partition(" ")[0] for tag in top} - {"gate"} == {"retrain"}
    assert {tag["bcd.kind"] for tag in tags} == {"retrain", "search", "trial", "machine", "gate"}
    retrainings = [run for run in runs if run["info"]["run_name"].startswith("retrain ")]
    states = [run["info"]["status"] for run in retrainings]
    # What was killed was gone on with, unless Thursday's patients were there by then.
    assert sorted(states) in (["FINISHED"] * RETRAININGS, ["FINISHED"] * RETRAININGS + ["KILLED"] * FULL)
    retrain = retrainings[states.index("FINISHED")]
    metrics = {metric["key"] for metric in retrain["data"]["metrics"]}
    assert {"test_auroc_pooled", "test_auroc_pooled_low", "val_auroc", "loss"} <= metrics
    assert len(metrics) <= 40
    started = next(tag["value"] for tag in retrain["data"]["tags"] if tag["key"] == "mlflow.note.content")
    assert f"{hospital.prefect.base_url.copy_with(path='/')}runs/flow-run/" in started
    assert any(parameter["key"] == "training.epochs" for parameter in retrain["data"]["params"])
    alias = {"name": "bcd-idc", "alias": "champion"}
    champion = hospital.mlflow.get("/registered-models/alias", params=alias).raise_for_status().json()
    assert champion["model_version"]["version"] in {"1", "2"}  # as the gate decided last


def _a_patient_is_scored_from_the_dashboard(hospital: Hospital) -> None:
    from bcd.store.patients import list_patients

    deployment = hospital.deployment("score")
    form = deployment["parameter_openapi_schema"]["properties"]
    assert form["patient"]["type"] == "string"
    assert form["patient"]["description"]
    patient = str(list_patients(open_store(load_settings()))["patient"].iloc[0])
    url = f"/deployments/{deployment['id']}/create_flow_run"
    refused = hospital.prefect.post(url, json={"parameters": {"patient": 7, "hospital": "east"}})
    assert refused.status_code in {409, 422}, "the form's types are not enforced"
    run = hospital.start("score", patient=patient, hospital="east")
    assert wait_until("scoring", lambda: hospital.ended(run))["type"] == "COMPLETED"
    wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    artifacts = hospital.prefect.post("/artifacts/filter", json=wanted).raise_for_status().json()
    keys = {artifact["key"]: artifact for artifact in artifacts}
    picture = keys[f"heatmap-east-{patient}"]
    assert "](data:image/jpeg;base64," in str(picture["data"])
    report = keys[f"report-east-{patient}"]["data"]
    assert "Research use only" in report
    # One click opens it, and the index lists it.
    link = urlsplit(re.search(r"\]\((http://[^)]+/report\.html)\)", report)[1])
    assert "Research use only" in httpx.get(link.geturl()).raise_for_status().text
    assert f'href="{link.path}"' in httpx.get(f"http://{link.netloc}/").raise_for_status().text
