"""The wheel holds what `bcd demo` and `bcd up` need, without the project's folder; importing it changes nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is unpacked to, as an installation does."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, code: str, cwd: Path, **variables: str) -> str:
    """Runs code with the installed wheel, and without the project's folder, in an empty folder."""
    hide = f"import sys; sys.path[:] = [entry for entry in sys.path if entry != {str(ROOT)!r}]\n"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd / "user"),
        "BCD_HOME": str(cwd / "home"),
        "PYTHONPATH": str(installed),
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", hide + code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_every_file_of_the_packages_the_deployments_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    packages = (path for name in ("bcd", "flows") for path in (ROOT / name).rglob("*"))
    files = {str(path.relative_to(ROOT)) for path in packages if path.is_file() and "__pycache__" not in path.parts}
    assert held == files | {"flows/deployment.yaml"}
    assert {"bcd/py.typed", "bcd/pages/style.css", "bcd/snapshots/protocols/cruz-roa-2014-val.txt"} <= held


def test_its_deployments_name_flows_that_it_holds(installed: Path, tmp_path: Path) -> None:
    said = json.loads(
        run(installed, "import flows, json; print(json.dumps([str(flows.ROOT), str(flows.DEPLOYMENTS)]))", tmp_path)
    )
    assert said == [str(installed), str(installed / "flows/deployment.yaml")]
    declared = yaml.safe_load(Path(said[1]).read_text())["deployments"]
    assert declared == yaml.safe_load((ROOT / "deployment.yaml").read_text())["deployments"]
    for deployment in declared:
        assert (installed / deployment["entrypoint"].partition(":")[0]).is_file()


def test_importing_the_flows_changes_neither_files_nor_the_environment(installed: Path, tmp_path: Path) -> None:
    names = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
    code = f"""
import os
before = dict(os.environ)
import flows
assert dict(os.environ) == before
assert "prefect" not in sys.modules
from flows import {", ".join(names)}
assert flows.__file__.startswith({str(installed)!r})
ours = [name for name in os.environ if name.startswith(("BCD_", "MLFLOW_", "PREFECT_", "KERAS_", "TF_", "DO_NOT"))]
assert ours == ["BCD_HOME"], ours
"""
    run(installed, code, tmp_path)
    assert not (tmp_path / "home").exists()


def bcd(installed: Path, cwd: Path, *arguments: str, **variables: str) -> str:
    code = f"from bcd.cli.main import main; sys.argv = {['bcd', *arguments]!r}; main()"
    return run(installed, code, cwd, **variables)


def test_the_command_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert "Usage: bcd up" in bcd(installed, tmp_path, "up", "--help")
    assert str(tmp_path / "home") in bcd(installed, tmp_path, "config", "show")


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.integration
def test_demo_and_servers_run_from_it(installed: Path, tmp_path: Path, tiny_options: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/bcd.toml").write_text(tiny_options)
    ports = {f"BCD_{name}_PORT": free_port() for name in ("PREFECT", "MLFLOW", "STUDIES")}
    assert "Research use only" in bcd(installed, tmp_path, "demo", **ports)
    bcd(installed, tmp_path, "up", **ports)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{ports['BCD_PREFECT_PORT']}/api", timeout=30) as prefect:
            deployed = prefect.post("/deployments/filter", json={}).raise_for_status().json()
            assert {each["name"] for each in deployed} == {"ingest", "retrain", "score", "approve"}
            asked = prefect.get("/deployments/name/ingest/ingest").json()["id"]
            run_id = prefect.post(f"/deployments/{asked}/create_flow_run", json={}).raise_for_status().json()["id"]
            deadline = time.monotonic() + PATIENCE
            while (state := prefect.get(f"/flow_runs/{run_id}").json()["state"])["type"] != "COMPLETED":
                assert state["type"] in ("SCHEDULED", "PENDING", "RUNNING"), state
                assert time.monotonic() < deadline
                time.sleep(1)
    finally:
        bcd(installed, tmp_path, "down", **ports)
    assert {path.name for path in tmp_path.iterdir()} <= {"home", "user"}  # nothing where the command was typed
