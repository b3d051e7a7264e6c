"""The three uses against real servers from the wheel, through their HTTP interfaces, as a hospital would have them.

1. A zip dropped into the inbox is admitted by a run of its own, whose event starts `retrain`; the pool takes one run
   at a time, and no run waits for another that it holds the place of.
2. The MLflow server lists runs that can be told apart and compared.
3. `score` runs on a schedule, and is started for one patient with typed parameters; it leaves its pictures.

Then everything is stopped or killed at random moments, and the next delivery is admitted nevertheless: three times,
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
from collections.abc import Callable, Iterator
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
from delivering import patch_files, write_zip

from bcd.settings import load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store
from bcd.synthetic.hospital import draw_hospital
from bcd.synthetic.options import HospitalOptions

pytestmark = pytest.mark.integration
needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")

BCD = str(Path(sys.executable).parent / "bcd")
PATIENCE = 420.0
JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
SHARED_MEMORY = Path("/dev/shm")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bcd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BCD, *arguments], env=os.environ, capture_output=True, text=True, check=False)


def _declare(hospital: str) -> None:
    with open_store(load_settings()) as store:
        declare_hospital(store, hospital, "pseudonyms", SignOff("Mary", "test"))


def _wait(what: str, look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not happen within {PATIENCE:.0f} s")


def _processes_of(home: Path) -> list[psutil.Process]:
    """Everything that `bcd up` started on a home, and what that started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("UP_OF_BCD_HOME") == str(home):
                found.append(process)
    return found


def _held_by_nobody(files: set[Path]) -> list[Path]:
    """Other tests run meanwhile: what a living process uses is not left over."""
    used = set()
    for process in psutil.process_iter():
        with suppress(OSError):  # it has ended, or is somebody else's
            used |= {line.split()[-1] for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines()}
    return sorted(file for file in files if file.exists() and str(file) not in used)


class _PatientClient(httpx.Client):
    """Asks a server whose database is busy again, as Prefect's own client does."""

    def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        for _ in range(60):
            answer = super().send(request, **how)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        return answer


class _Hospital:
    """One BCD_HOME with its servers."""

    def __init__(self, home: Path, pages: str, prefect: str, mlflow: str) -> None:
        self.home = home
        self.pages = pages  # as `bcd up` printed them
        self.prefect = _PatientClient(base_url=f"{prefect}/api", timeout=30)
        self.mlflow = httpx.Client(base_url=f"{mlflow}/api/2.0/mlflow", timeout=30)

    def deployment(self, name: str) -> dict[str, Any]:
        return self.prefect.get(f"/deployments/name/{name}/{name}").raise_for_status().json()

    def start(self, name: str) -> None:
        url = f"/deployments/{self.deployment(name)['id']}/create_flow_run"
        self.prefect.post(url, json={}).raise_for_status()

    def flow_runs(self, name: str, state: str) -> list[dict[str, Any]]:
        wanted = {
            "deployments": {"id": {"any_": [self.deployment(name)["id"]]}},
            "flow_runs": {"state": {"type": {"any_": [state]}}},
        }
        return self.prefect.post("/flow_runs/filter", json=wanted).raise_for_status().json()

    def ended(self, run: str) -> dict[str, Any] | None:
        state = self.prefect.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
        return state if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

    def log(self, run: str) -> str:
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}}
        lines = self.prefect.post("/logs/filter", json=wanted).raise_for_status().json()
        return "\n".join(line["message"] for line in lines)

    def finished(self, name: str) -> list[dict[str, Any]]:
        failed = self.flow_runs(name, "FAILED") + self.flow_runs(name, "CRASHED")
        if failed:
            log = (self.home / "logs/worker.log").read_text()[-4000:]
            raise AssertionError(f"{name}: {failed[0]['state']['message']}\n{log}")
        return self.flow_runs(name, "COMPLETED")


@pytest.fixture(scope="module")
def hospital(
    site: Path,
    prefect_database: Path,
    empty_database: Path,
    tiny_options: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[_Hospital]:
    home = tmp_path_factory.mktemp("hospital") / "home"
    for name, database in (("prefect", prefect_database), ("mlflow", empty_database)):
        (home / name).mkdir(parents=True)
        shutil.copy(database, home / name)
    (home / "bcd.toml").write_text(tiny_options)
    ports = {name: _free_port() for name in ("prefect", "mlflow", "studies", "reports")}
    with pytest.MonkeyPatch.context() as patch:
        # Flow runs must not be drawn into the server of another test.
        for variable in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI", JOBS):
            patch.delenv(variable, raising=False)
        patch.setenv("BCD_HOME", str(home))
        patch.setenv("PYTHONPATH", str(site))  # comes before the project's folder
        user, temporary = tmp_path_factory.mktemp("user"), Path(tempfile.mkdtemp(prefix="bcd-servers-"))
        patch.setenv("HOME", str(user))
        patch.setenv("TMPDIR", str(temporary))
        shared_before = set(SHARED_MEMORY.iterdir())
        for name, port in ports.items():
            patch.setenv(f"BCD_{name.upper()}_PORT", str(port))
        started = _bcd("up")
        try:
            assert started.returncode == 0, started.stdout + started.stderr
            yield _Hospital(
                home, started.stdout, *(f"http://127.0.0.1:{ports[each]}" for each in ("prefect", "mlflow"))
            )
        finally:
            stopped = _bcd("down")
        assert "worker, prefect, mlflow, studies" in stopped.stdout
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "a server outlived `bcd down`"
    assert _processes_of(home) == []
    assert list(user.rglob("*")) == []
    assert list(temporary.iterdir()) == []
    assert _held_by_nobody(set(SHARED_MEMORY.iterdir()) - shared_before) == []
    temporary.rmdir()


def test_the_three_uses(hospital: _Hospital, site: Path, tmp_path: Path) -> None:
    settings = load_settings()
    delivery = draw_hospital(settings.options("synthetic", HospitalOptions), tmp_path / "drawn")[0]
    assert _bcd("up").returncode == 0  # once more changes nothing
    _what_runs_is_the_wheel(hospital, site)
    hospital.prefect.patch("/work_pools/bcd", json={"concurrency_limit": 1}).raise_for_status()
    _a_delivery_in_the_inbox_starts_a_retraining(hospital, delivery)
    _mlflow_compares_runs(hospital)
    _a_patient_is_scored_from_the_dashboard(hospital)
    _a_form_that_asks_for_what_cannot_be_is_answered_in_a_sentence(hospital)
    hospital.prefect.patch("/work_pools/bcd", json={"concurrency_limit": None}).raise_for_status()


def _what_runs_is_the_wheel(hospital: _Hospital, site: Path) -> None:
    deployed = hospital.prefect.post("/deployments/filter", json={}).raise_for_status().json()
    assert {each["name"] for each in deployed} == {"ingest", "retrain", "score", "monitor", "approve"}
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(site)}}
    assert all(each["pull_steps"] == [step] for each in deployed)


def _a_form_that_asks_for_what_cannot_be_is_answered_in_a_sentence(hospital: _Hospital) -> None:
    """Said by the flow, and of what the form holds before the flow begins; the rest: tests/flows, tests/admission."""
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "score": ({"patient": " nobody "}, "nobody"),
        "retrain": ({"splits": {"train": 0.9}}, "sum to"),
    }
    started = {}
    for name, (parameters, sentence) in wrong.items():
        url = f"/deployments/{hospital.deployment(name)['id']}/create_flow_run"
        run = hospital.prefect.post(url, json={"parameters": parameters}).raise_for_status().json()["id"]
        started[run] = sentence
    for run, sentence in started.items():
        state = _wait(sentence, partial(hospital.ended, run))
        assert (state["type"], sentence in state["message"]) == ("FAILED", True), state["message"]
        assert "Traceback" not in hospital.log(run)


@needs_browser
def test_a_browser_shows_the_form_and_the_runs_and_asks_nobody_else(hospital: _Hospital, tmp_path: Path) -> None:
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


def _kill(hospital: _Hospital) -> None:
    while left := _processes_of(hospital.home):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def _stop_while_it_works(hospital: _Hospital, how: str, seconds: float) -> None:
    hospital.start("ingest")
    if how == "kill while it starts":
        assert _bcd("down").returncode == 0
        with subprocess.Popen([BCD, "up"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
            time.sleep(3 * seconds)
            starting.kill()
    else:
        time.sleep(seconds)
    if how == "down":
        assert _bcd("down").returncode == 0
    else:
        _kill(hospital)


@pytest.mark.parametrize("moment", range(30 if os.environ.get("BCD_TEST_FULL") else 3))
def test_whenever_it_was_stopped_or_killed_the_next_delivery_is_admitted(hospital: _Hospital, moment: int) -> None:
    chance = random.Random(moment)
    how = ("kill", "down", "kill while it starts")[moment % 3]
    _declare("west")
    _deliver(hospital, f"during{moment}", 2 * moment)
    _stop_while_it_works(hospital, how, chance.uniform(0, 8))
    started = _bcd("up")
    assert started.returncode == 0, started.stdout + started.stderr
    _deliver(hospital, f"after{moment}", 2 * moment + 1)
    hospital.start("ingest")
    for name in (f"during{moment}", f"after{moment}"):
        _wait(f"admission after {how}", (hospital.home / f"received/west/{name}.zip").exists)


def _deliver(hospital: _Hospital, name: str, number: int) -> None:
    """Puts a delivery of one patch, of a patient of that name, into the inbox."""
    write_zip(hospital.home / f"inbox/west/{name}.zip", patch_files(name, [number]))


def _look(url: str, folder: Path) -> tuple[str, set[str]]:
    """Opens a page in a browser; returns what its scripts made of it, and which hosts it asked for anything."""
    log = folder / "requests.json"
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", *quiet]
    command += [f"--log-net-log={log}", "--virtual-time-budget=20000", "--dump-dom", url]
    environment = {**os.environ, "HOME": str(folder)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout
    recorded = json.loads(log.read_text())
    start = recorded["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [event["params"] for event in recorded["events"] if event["type"] == start and "params" in event]
    # What the browser asks for itself has no page as its initiator.
    asked = {urlsplit(each["url"]).netloc for each in requests if each.get("initiator", "").startswith("http")}
    return shown, asked


def _a_delivery_in_the_inbox_starts_a_retraining(hospital: _Hospital, delivery: Path) -> None:
    assert any(each["active"] for each in hospital.deployment("ingest")["schedules"])
    folder = hospital.home / "inbox/east"
    folder.mkdir(parents=True)
    _declare("east")
    shutil.copy(delivery, folder / "monday.zip")
    _wait("admission", (hospital.home / "received/east/monday.zip").exists)
    [run] = _wait("ingest", lambda: hospital.finished("ingest"))
    assert run["parameters"] == {"delivery": "east/monday.zip", "hospital": "east"}
    assert run["name"] == "ingest east monday.zip"
    [run] = _wait("retraining", lambda: hospital.finished("retrain"))
    assert run["created_by"]["type"] == "AUTOMATION"


def _mlflow_compares_runs(hospital: _Hospital) -> None:
    experiment = hospital.mlflow.get("/experiments/get-by-name", params={"experiment_name": "bcd"}).json()
    wanted = {"experiment_ids": [experiment["experiment"]["experiment_id"]]}
    runs = hospital.mlflow.post("/runs/search", json=wanted).raise_for_status().json()["runs"]
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
    top = [tag for tag in tags if "mlflow.parentRunId" not in tag]
    assert len(top) == 1
    assert top[0]["mlflow.runName"].startswith("retrain ")
    assert {tag["bcd.kind"] for tag in tags} == {"retrain", "search", "trial", "machine", "gate"}
    assert all(run["info"]["status"] == "FINISHED" for run in runs)
    [retrain] = [run for run in runs if run["info"]["run_name"].startswith("retrain ")]
    metrics = {metric["key"] for metric in retrain["data"]["metrics"]}
    assert {"test_auroc_pooled", "test_auroc_pooled_low", "val_auroc", "loss"} <= metrics
    assert len(metrics) <= 40
    started = next(tag["value"] for tag in retrain["data"]["tags"] if tag["key"] == "mlflow.note.content")
    assert f"{hospital.prefect.base_url.copy_with(path='/')}runs/flow-run/" in started
    assert any(parameter["key"] == "training.epochs" for parameter in retrain["data"]["params"])
    alias = {"name": "bcd-idc", "alias": "champion"}
    champion = hospital.mlflow.get("/registered-models/alias", params=alias).raise_for_status().json()
    assert champion["model_version"]["version"] == "1"


def _a_patient_is_scored_from_the_dashboard(hospital: _Hospital) -> None:
    from bcd.store.patients import list_patients

    deployment = hospital.deployment("score")
    assert any(each["active"] and "cron" in each["schedule"] for each in deployment["schedules"])
    form = deployment["parameter_openapi_schema"]["properties"]
    assert form["patient"]["type"] == "string"
    assert form["patient"]["description"]
    patient = str(list_patients(open_store(load_settings()))["patient"].iloc[0])
    url = f"/deployments/{deployment['id']}/create_flow_run"
    refused = hospital.prefect.post(url, json={"parameters": {"patient": 7, "hospital": "east"}})
    assert refused.status_code in {409, 422}, "the form's types are not enforced"
    parameters = {"patient": patient, "hospital": "east"}
    hospital.prefect.post(url, json={"parameters": parameters}).raise_for_status()
    _wait("scoring", lambda: hospital.finished("score"))
    artifacts = hospital.prefect.post("/artifacts/filter", json={}).raise_for_status().json()
    keys = {artifact["key"]: artifact for artifact in artifacts}
    picture = keys[f"heatmap-east-{patient}"]
    assert "](data:image/jpeg;base64," in str(picture["data"])
    report = keys[f"report-east-{patient}"]["data"]
    assert "Research use only" in report
    # One click opens it, and the index lists it.
    link = urlsplit(re.search(r"\]\((http://[^)]+/report\.html)\)", report)[1])
    assert "Research use only" in httpx.get(link.geturl()).raise_for_status().text
    assert f'href="{link.path}"' in httpx.get(f"http://{link.netloc}/").raise_for_status().text
