"""Units for systemd: it accepts them, and what each starts works, in the order in which they want each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from hospital import find_free_ports

from bcd.settings import Settings, load_settings

BCD = str(Path(sys.executable).parent / "bcd")
PATIENCE = 420.0


@pytest.fixture
def home(settings: Settings, prefect_database: Path, empty_database: Path) -> Settings:
    """A home on free ports, which its bcd.toml names."""
    for name, database in (("prefect", prefect_database), ("mlflow", empty_database)):
        (settings.home / name).mkdir(parents=True)
        shutil.copy(database, settings.home / name)
    lines = [f"{name}_port = {port}" for name, port in find_free_ports().items()]
    (settings.home / "bcd.toml").write_text("\n".join(lines))
    return load_settings()


@pytest.fixture
def units(home: Settings, tmp_path: Path) -> dict[str, str]:
    """The units that the command writes, by name."""
    done = subprocess.run(
        [BCD, "up", "--systemd", str(tmp_path / "units")], capture_output=True, text=True, check=True
    )
    assert "systemctl enable --now bcd.target" in done.stdout
    assert not home.servers.exists()
    return {path.name: path.read_text() for path in (tmp_path / "units").iterdir()}


def read(unit: str, name: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{name}=")]


def test_systemd_accepts_the_units(units: dict[str, str], tmp_path: Path) -> None:
    names = {"bcd.target", *(f"bcd-{name}.service" for name in (*SERVERS, "deploy", "worker", "inbox"))}
    assert set(units) == names
    assert all(read(units["bcd.target"], "Wants")[0].split().count(name) for name in names - {"bcd.target"})
    services = [text for name, text in units.items() if name.endswith(".service")]
    for setting in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=\n", "Restart="):
        assert all(setting in text for text in services), setting
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", "verify", *map(str, sorted((tmp_path / "units").iterdir()))]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


SERVERS = {"prefect": "/api/health", "mlflow": "/health", "studies": "/dashboard/", "reports": "/health"}


@pytest.fixture
def start(units: dict[str, str]) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts what a unit starts, with the environment that systemd gives it."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    begun = []

    def begin(name: str) -> subprocess.Popen[bytes]:
        unit = units[f"bcd-{name}.service"]
        given = dict(line.split("=", 1) for line in read(unit, "Environment"))
        process = subprocess.Popen(
            read(unit, "ExecStart")[0].split(),
            env=kept | given,
            cwd=read(unit, "WorkingDirectory")[0],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in reversed(begun):
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:  # as systemd does after TimeoutStopSec
            process.kill()
            process.wait()


@pytest.mark.integration
def test_what_each_unit_starts_works(
    home: Settings, start: Callable[[str], subprocess.Popen[bytes]], units: dict[str, str]
) -> None:
    def wait(look: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):  # not yet
                if look():
                    return
            time.sleep(0.5)
        raise AssertionError(what)

    urls = {name: f"http://127.0.0.1:{getattr(home, f'{name}_port')}" for name in SERVERS}
    for name in SERVERS:
        start(name)
    for client in ("worker", "inbox"):
        assert read(units[f"bcd-{client}.service"], "Requires") == ["bcd-deploy.service"]
    assert start("deploy").wait(timeout=PATIENCE) == 0  # it waits for the servers
    for name, page in SERVERS.items():
        wait(lambda: httpx.get(urls[name] + page).is_success, name)  # noqa: B023 - called at once
    start("worker")
    workers = f"{urls['prefect']}/api/work_pools/bcd/workers/filter"
    wait(lambda: [each["status"] for each in httpx.post(workers, json={}).json()] == ["ONLINE"], "worker")
    (home.inbox / "nobody").mkdir(parents=True)
    (home.inbox / "nobody/monday.zip").touch()  # of a hospital that is not declared
    start("inbox")
    runs = f"{urls['prefect']}/api/flow_runs/filter"
    wait(lambda: any(not run["auto_scheduled"] for run in httpx.post(runs, json={}).json()), "a run of ingest")
    deployed = httpx.post(f"{urls['prefect']}/api/deployments/filter", json={}).json()
    assert {"ingest", "retrain", "score", "approve"} <= {each["name"] for each in deployed}
    # The command uses them and leaves them alone.
    assert urls["prefect"] in subprocess.run([BCD, "status"], capture_output=True, text=True, check=True).stdout
    for command in ("up", "down"):
        refused = subprocess.run([BCD, command], capture_output=True, text=True, check=False)
        assert (refused.returncode, "systemctl" in refused.stderr) == (2, True)
    assert httpx.get(f"{urls['prefect']}/api/health").is_success
