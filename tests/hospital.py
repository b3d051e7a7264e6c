"""A hospital at work: a BCD_HOME with what `bcd up` started, seen through command, pages and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from delivering import encode, write_zip
from free_ports import find_free_port

from bcd.synthetic.hospital import draw_patches
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_synthetic_patients

BCD = str(Path(sys.executable).parent / "bcd")
PATIENCE = 180.0
PAGES = ("prefect", "mlflow", "studies", "reports")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
STATES = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED", *ENDED)


def run_bcd(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command on BCD_HOME."""
    return subprocess.run([BCD, *arguments], env=os.environ, capture_output=True, text=True, check=False)


def find_free_ports() -> dict[str, int]:
    """Returns a free port for each page."""
    return {name: find_free_port() for name in PAGES}


def wait_until(what: str, look: Callable[[], Any], *, patience: float = PATIENCE, pause: float = 0.5) -> Any:
    """Looks again and again until there is something, and returns it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(pause)
    raise AssertionError(f"{what} did not happen within {patience:.0f} s")


def list_processes(home: Path) -> list[psutil.Process]:
    """Lists everything that `bcd up` started on a home, and what that started."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("UP_OF_BCD_HOME") == str(home):
                found.append(process)
    return found


def kill_processes(home: Path) -> None:
    """Kills everything that `bcd up` started on a home, as a power cut does."""
    while left := list_processes(home):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def draw_deliveries(options: HospitalOptions, patients: Mapping[str, int], folder: Path) -> dict[str, Path]:
    """Draws deliveries of so many patients each, a zip by its name."""
    drawn = draw_patches(draw_synthetic_patients(options.model_copy(update={"patients": sum(patients.values())})))
    made = {}
    for name, number in patients.items():
        mine = [patch for _ in range(number) for patch in next(drawn)[1]]
        files = {
            f"{patch.name.patient}/{patch.name.label}/{patch.name.format()}": encode(patch.pixels[..., ::-1])
            for patch in mine
        }
        made[name] = write_zip(folder / f"{name}.zip", files)
    return made


class _PatientClient(httpx.Client):
    """Asks a server whose database is busy again, as Prefect's own client does."""

    def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        for _ in range(60):
            answer = super().send(request, **how)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)
        return answer


_TIMEOUT = 300.0  # seconds; a busy machine is no defect


@contextmanager
def at_work(home: Path, *, postgres: Any = None, **variables: str) -> Iterator[Hospital]:
    """Starts the servers of a home, which the environment names for the block, and stops them at its end.

    Args:
        home: BCD_HOME.
        postgres: The database server that the variables name, if any.
        **variables: Of the environment, beside the ports.
    """
    ports = find_free_ports()
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
            patch.delenv(variable, raising=False)  # flow runs must not be drawn into the server of another test
        named = {f"BCD_{name.upper()}_PORT": str(port) for name, port in ports.items()}
        for variable, value in {"BCD_HOME": str(home), **named, **variables}.items():
            patch.setenv(variable, value)
        try:
            started = run_bcd("up")
            assert started.returncode == 0, started.stdout + started.stderr
            yield Hospital(home, ports, started.stdout, postgres)
        finally:
            stopped = run_bcd("down")
            left = list_processes(home)
            kill_processes(home)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert left == [], "something outlived `bcd down`"


class Hospital:
    """One BCD_HOME with its servers.

    Args:
        home: BCD_HOME, which the environment names too.
        ports: Of the pages, by name.
        pages: What `bcd up` printed.
        postgres: The database server that its settings name; None: SQLite under the home.
    """

    def __init__(self, home: Path, ports: Mapping[str, int], pages: str = "", postgres: Any = None) -> None:
        self.home = home
        self.ports = ports
        self.pages = pages
        self.postgres = postgres
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.prefect = _PatientClient(base_url=f"{urls['prefect']}/api", timeout=_TIMEOUT)
        self.mlflow = httpx.Client(base_url=f"{urls['mlflow']}/api/2.0/mlflow", timeout=_TIMEOUT)

    def daemon(self, name: str) -> int:
        """Returns the process id of a server or the worker."""
        return int(json.loads((self.home / "servers.json").read_text())["processes"][name]["pid"])

    def now(self) -> datetime:
        """Returns the time by the server's clock, in whole seconds."""
        return parsedate_to_datetime(self.prefect.get("/health").headers["date"])

    def list_daemons(self) -> set[int]:
        """Returns the process ids of the servers and the worker, without what these started."""
        processes = json.loads((self.home / "servers.json").read_text())["processes"]
        return {int(each["pid"]) for each in processes.values()}

    def wait_until(self, what: str, look: Callable[[], Any], **how: float) -> Any:
        """Waits as the function does; what does not happen is told with the states of all runs."""
        try:
            return wait_until(what, look, **how)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.describe_runs()}") from late

    def describe_runs(self) -> str:
        """Returns a line for each run that is due or has begun: name, state and the state's message, oldest first."""
        due = {"expected_start_time": {"before_": self.now().isoformat()}}
        runs = self.find_runs(*STATES, flow_runs=due, sort="EXPECTED_START_TIME_ASC")
        return "\n".join(f"{run['name']}: {run['state']['name']} ({run['state']['message']})" for run in runs)

    def deployment(self, name: str) -> dict[str, Any]:
        """Returns a deployment as the server has it."""
        found: dict[str, Any] = self.prefect.get(f"/deployments/name/{name}/{name}").raise_for_status().json()
        return found

    def start(self, name: str, **parameters: Any) -> str:
        """Starts a run by the form, and returns its id."""
        url = f"/deployments/{self.deployment(name)['id']}/create_flow_run"
        made = self.prefect.post(url, json={"parameters": parameters}).raise_for_status().json()
        return str(made["id"])

    def bring_night(self, name: str) -> None:
        """Moves a deployment's schedule to two seconds from now, as a person could on the dashboard."""
        deployment = self.deployment(name)
        [found] = deployment["schedules"]
        begin = self.now() + timedelta(seconds=2)
        schedule = {"interval": 24 * 3600, "anchor_date": begin.isoformat(), "timezone": "UTC"}
        url = f"/deployments/{deployment['id']}"
        self.prefect.patch(f"{url}/schedules/{found['id']}", json={"schedule": schedule}).raise_for_status()
        self.prefect.post(f"{url}/schedule", json={"start_time": begin.isoformat()}).raise_for_status()

    def flow_runs(self, name: str, *states: str) -> list[dict[str, Any]]:
        """Lists the runs of a deployment in some states."""
        return self.find_runs(*states, deployments={"id": {"any_": [self.deployment(name)["id"]]}})

    def find_runs(self, *states: str, flow: str = "", **wanted: Any) -> list[dict[str, Any]]:
        """Lists runs in some states, at most 200.

        Args:
            *states: Types of state.
            flow: Of this flow; empty: of any, stages of another run too.
            **wanted: Further filters of Prefect's.
        """
        found = {"state": {"type": {"any_": list(states)}}, **wanted.pop("flow_runs", {})}
        named = {"flows": {"name": {"any_": [flow]}}} if flow else {}
        answer = self.prefect.post("/flow_runs/filter", json={"flow_runs": found, "limit": 200, **named, **wanted})
        runs: list[dict[str, Any]] = answer.raise_for_status().json()
        return runs

    def list_running(self) -> list[str]:
        """Lists the names of what is called running, by Prefect or by MLflow."""
        begun = self.find_runs("PENDING", "RUNNING", "CANCELLING")
        experiment = self.mlflow.get("/experiments/get-by-name", params={"experiment_name": "bcd"}).json()
        ids = [experiment["experiment"]["experiment_id"]]
        wanted = {"experiment_ids": ids, "filter": "attributes.status = 'RUNNING'"}
        runs = self.mlflow.post("/runs/search", json=wanted).raise_for_status().json().get("runs", [])
        return [run["name"] for run in begun] + [run["info"]["run_name"] for run in runs]

    def kill(self, name: str) -> None:
        """Kills a server with its children, or the worker without: they are the runs, and go on."""
        process = psutil.Process(self.daemon(name))
        family = [process] if name == "worker" else [*process.children(recursive=True), process]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, timeout=10)

    def kill_flow_process(self) -> None:
        """Kills what the worker started for its runs; the processes of their trials are left to themselves."""
        for process in psutil.Process(self.daemon("worker")).children():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def ended(self, run: str) -> dict[str, Any] | None:
        """Returns the state of a run that has ended."""
        state: dict[str, Any] = self.prefect.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
        return state if state["type"] in ENDED else None

    def log(self, run: str) -> str:
        """Returns what a run logged."""
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}}
        lines = self.prefect.post("/logs/filter", json=wanted).raise_for_status().json()
        return "\n".join(line["message"] for line in lines)

    def list_artifacts(self, *runs: str) -> list[dict[str, Any]]:
        """Lists what runs left on the dashboard."""
        wanted = {"artifacts": {"flow_run_id": {"any_": list(runs)}}, "limit": 200}
        found: list[dict[str, Any]] = self.prefect.post("/artifacts/filter", json=wanted).raise_for_status().json()
        return found

    def finished(self, name: str) -> list[dict[str, Any]]:
        """Lists the completed runs of a deployment, of which none may have failed."""
        failed = self.flow_runs(name, "FAILED", "CRASHED")
        if failed:
            log = (self.home / "logs/worker.log").read_text()[-4000:]
            raise AssertionError(f"{name}: {failed[0]['state']['message']}\n{log}")
        return self.flow_runs(name, "COMPLETED")

    def status(self) -> dict[str, Any]:
        """Returns what `bcd status --json` prints."""
        shown = run_bcd("status", "--json")
        assert shown.returncode == 0, shown.stderr
        found: dict[str, Any] = json.loads(shown.stdout)
        return found
