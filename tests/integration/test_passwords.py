"""One password before every page: 401 without it, and with it worker, flows, command and MLflow work as before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hospital import find_free_ports

pytestmark = pytest.mark.integration

BCD = str(Path(sys.executable).parent / "bcd")
USER, WORD = "lee", "correct horse"
PATIENCE = 420.0


def run_bcd(*arguments: str) -> str:
    done = subprocess.run([BCD, *arguments], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pages(
    prefect_database: Path, empty_database: Path, tiny_options: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The addresses of the pages of a home with a password."""
    folder = tmp_path_factory.mktemp("guarded")
    home = folder / "home"
    for name, database in (("prefect", prefect_database), ("mlflow", empty_database)):
        (home / name).mkdir(parents=True)
        shutil.copy(database, home / name)
    (folder / "password").write_text(f"{USER}:{WORD}\n")
    (folder / "password").chmod(0o600)
    (home / "bcd.toml").write_text(f'password_file = "{folder}/password"\n{tiny_options}')
    ports = find_free_ports()
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
            patch.delenv(variable, raising=False)
        patch.setenv("BCD_HOME", str(home))
        for name, port in ports.items():
            patch.setenv(f"BCD_{name.upper()}_PORT", str(port))
        try:
            run_bcd("up")
            yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        finally:
            stopped = run_bcd("down")
    assert "Stopped inbox, worker, prefect, mlflow, reports." in stopped


PATHS = {
    "prefect": ["/api/admin/version", "/api/work_pools/bcd"],
    "mlflow": [
        "/",
        "/api/2.0/mlflow/experiments/get-by-name?experiment_name=bcd",
        "/ajax-api/2.0/mlflow/experiments/get-by-name?experiment_name=bcd",
        "/version",
    ],
    "reports": ["/", "/reports/none"],
}


def test_without_the_password_401_and_with_it_an_answer(pages: dict[str, str]) -> None:
    for name, paths in PATHS.items():
        for path in paths:
            assert httpx.get(pages[name] + path).status_code == 401, path
            assert httpx.get(pages[name] + path, auth=(USER, "wrong")).status_code == 401, path
            assert httpx.get(pages[name] + path, auth=(USER, WORD)).status_code in {200, 404}, path
    with pytest.raises(httpx.ConnectError):
        httpx.get(pages["studies"])


def test_worker_flow_and_command_have_it(pages: dict[str, str]) -> None:
    with httpx.Client(base_url=f"{pages['prefect']}/api", auth=(USER, WORD), timeout=60) as prefect:
        score = prefect.get("/deployments/name/score/score").raise_for_status().json()
        parameters = {"patient": " nobody ", "hospital": "east"}
        url = f"/deployments/{score['id']}/create_flow_run"
        run = prefect.post(url, json={"parameters": parameters}).raise_for_status().json()["id"]
        deadline = time.monotonic() + PATIENCE
        state: dict[str, Any] = {}
        while state.get("type") not in {"COMPLETED", "FAILED", "CRASHED"} and time.monotonic() < deadline:
            time.sleep(1)
            state = prefect.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}}
        logged = prefect.post("/logs/filter", json=wanted).raise_for_status().json()
    assert (state["type"], "nobody" in state["message"]) == ("FAILED", True), state  # the flow's own sentence
    assert logged
    assert not [line for line in logged if "Traceback" in line["message"]]
    assert pages["prefect"] in run_bcd("status")
    assert "Pool, deployments, automations and limits are as the project says" in run_bcd("doctor")
    # In a process list is neither the password nor anything made of it.
    home = os.environ["BCD_HOME"]
    commands = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("UP_OF_BCD_HOME") == home:
                commands.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    assert len(commands) >= 4
    assert not [command for command in commands if WORD in command]


LOG = """
from bcd.runtime import enter_runtime
from bcd.settings import load_settings
from bcd.tracking.store import start_run

settings = load_settings()
enter_runtime(settings)
with start_run(settings, key="k", name="n", kind="train") as run:
    run.log_text("text", "note.md")
print(run.id)
"""


def test_mlflow_is_asked_with_it(pages: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", LOG], env=os.environ, capture_output=True, text=True, check=True)
    found = httpx.get(
        f"{pages['mlflow']}/api/2.0/mlflow/runs/get", params={"run_id": done.stdout.strip()}, auth=(USER, WORD)
    )
    assert found.json()["run"]["info"]["status"] == "FINISHED"
