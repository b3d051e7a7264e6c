"""`bcd worker` before it starts anything: it needs what the other machines share. tests/integration starts some."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from free_ports import find_free_port

from bcd.cli.units import write_worker_unit
from bcd.cli.worker import _end_worker, require_reach
from bcd.errors import UnavailableError
from bcd.settings import Settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nobody() -> str:
    """Host and port at which nobody answers."""
    return f"127.0.0.1:{find_free_port()}"


def test_what_is_not_shared_is_named(settings: Settings) -> None:
    with pytest.raises(UnavailableError) as refused:
        require_reach(settings)
    for name in ("catalog_url", "study_url", "store_url", "mlflow_url", "prefect_url"):
        assert f"{name} is empty" in refused.value.what


def test_what_does_not_answer_is_named_and_what_does_is_not(
    settings: Settings, nobody: str, postgres: Any, postgres_url: str
) -> None:
    settings.snapshots.mkdir(parents=True)
    database = postgres.url("not-there")
    shared = {"mlflow_url": f"http://{nobody}", "prefect_url": f"http://{nobody}"}
    worker = settings.model_copy(update={"catalog_url": database, "study_url": database, **shared})
    with pytest.raises(UnavailableError) as refused:
        require_reach(worker)
    told = refused.value.what.splitlines()
    for line, part in zip(told, ("catalog", "studies", "MLflow", "Prefect"), strict=True):
        assert part in line
    there = {"catalog_url": postgres_url, "study_url": postgres.url(postgres.make_database())}
    with pytest.raises(UnavailableError) as refused:
        require_reach(worker.model_copy(update=there))
    assert ["MLflow" in line or "Prefect" in line for line in refused.value.what.splitlines()] == [True, True]


def test_an_mlflow_database_is_refused_whose_files_are_another_machine_s(settings: Settings) -> None:
    """Regression: the worker told the shared database that all artifacts lay in its own home."""
    with pytest.raises(UnavailableError, match=r"mlflow_url names the database sqlite:////shared/mlflow\.db"):
        require_reach(settings.model_copy(update={"mlflow_url": "sqlite:////shared/mlflow.db"}))


@pytest.mark.parametrize("pool", ["bcd", "my pool", "a/b", ""])
def test_a_pool_that_it_may_not_serve_is_refused(bcd: Run, settings: Settings, pool: str) -> None:
    code, _, complaint = bcd("worker", "--pool", pool)
    assert (code, repr(pool).strip("'") in complaint) == (2, True)
    assert not (settings.home / ".locks").exists()


def test_its_unit_starts_it_again_and_lets_it_end_its_runs(settings: Settings, tmp_path: Path) -> None:
    unit = write_worker_unit(settings, "gpu", 2, tmp_path / "units")
    assert unit.name == "bcd-worker-gpu.service"
    lines = unit.read_text().splitlines()
    assert [line.endswith("-m bcd.cli.main worker --pool gpu --limit 2") for line in lines].count(True) == 1
    assert {"Restart=always", "KillMode=mixed", "WantedBy=multi-user.target"} <= set(lines)
    assert f"Environment=BCD_HOME={settings.home}" in lines
    assert not [line for line in lines if "{" in line or "bcd.target" in line]


WORKER = """
import os, subprocess, sys
subprocess.run(["sleep", "300"], env=os.environ | {"PREFECT__FLOW_RUN_ID": sys.argv[1]})
"""


def test_its_end_takes_its_runs_along_and_the_server_is_told(dashboard: Any) -> None:
    flow = dashboard.ask("POST", "/flows/", name="trials")["id"]
    run = dashboard.ask("POST", "/flow_runs/", flow_id=flow, state={"type": "RUNNING"})["id"]
    with subprocess.Popen([sys.executable, "-c", WORKER, run]) as worker:
        process = psutil.Process(worker.pid)
        while not process.children() or "PREFECT__FLOW_RUN_ID" not in process.children()[0].environ():
            time.sleep(0.05)
        family = [process, *process.children()]
        _end_worker(worker, dashboard.url)
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert dashboard.ask("GET", f"/flow_runs/{run}")["state_type"] == "CRASHED"
