"""The wheel holds what bcd needs without the project's folder, and importing it changes nothing.

tests/integration/test_demo.py plays the demo from it, tests/integration/test_servers.py starts the servers from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tifffile
import yaml
from delivering import encode, write_folder
from installed import ROOT, Installation

from bcd.bundle.probes import draw_tissue_probes


def test_it_holds_every_file_of_the_packages_the_deployments_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    packages = (path for name in ("bcd", "flows") for path in (ROOT / name).rglob("*"))
    files = {str(path.relative_to(ROOT)) for path in packages if path.is_file() and "__pycache__" not in path.parts}
    assert held == files | {"flows/deployment.yaml"}
    assert {"bcd/py.typed", "bcd/pages/style.css", "bcd/snapshots/protocols/cruz-roa-2014-val.txt"} <= held


def test_importing_the_flows_changes_neither_files_nor_the_environment(installation: Installation) -> None:
    names = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
    code = f"""
import json, os
before = dict(os.environ)
import flows
assert dict(os.environ) == before
assert "prefect" not in sys.modules
from flows import {", ".join(names)}
ours = [name for name in os.environ if name.startswith(("BCD_", "MLFLOW_", "PREFECT_", "KERAS_", "TF_", "DO_NOT"))]
assert ours == ["BCD_HOME"], ours
print(json.dumps(str(flows.DEPLOYMENTS)))
"""
    deployments = Path(json.loads(installation.run(code)))
    assert not installation.home.exists()
    assert deployments == installation.site / "flows/deployment.yaml"
    declared = yaml.safe_load(deployments.read_text())["deployments"]
    assert declared == yaml.safe_load((ROOT / "deployment.yaml").read_text())["deployments"]
    modules = {each["entrypoint"].split(".")[1] for each in declared}
    assert modules <= set(names)


def test_the_command_runs_from_an_empty_folder(installation: Installation) -> None:
    assert str(installation.home) in installation.bcd("config", "show")


def test_a_slide_is_scored_with_the_model_in_the_wheel_and_no_home_is_begun(
    installation: Installation, tmp_path: Path
) -> None:
    patches = draw_tissue_probes(12).reshape(3, 4, 50, 50, 3).swapaxes(1, 2).reshape(150, 200, 3)
    said = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    slide = tmp_path / "slide.tif"
    tifffile.imwrite(slide, patches.repeat(4, 0).repeat(4, 1), tile=(64, 64), photometric="rgb", **said)
    home = tmp_path / "home"
    printed = installation.bcd("score", str(slide), "--to", str(tmp_path / "out"), BCD_HOME=str(home))
    assert "bcd-idc/released" in printed
    assert (tmp_path / "out/slide/report.html").is_file()
    assert not home.exists()


@pytest.mark.skipif(os.environ.get("BCD_TEST_FULL") != "1", reason="installs everything anew: make deployed")
def test_the_wheel_needs_nothing_but_the_lock(wheel: Path, tmp_path: Path) -> None:
    # The other tests run in the environment of the tests, which holds more than an installation does.
    environment = tmp_path / "venv"
    python, bcd = environment / "bin/python", environment / "bin/bcd"
    uv: Path | str = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "--quiet", "--python", python]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    subprocess.run([*install, "--require-hashes", "--requirement", ROOT / "requirements.lock"], check=True)
    subprocess.run([*install, "--no-deps", wheel], check=True)
    names = {f"8867_idx5_x{1 + 50 * place}_y1_class0.png": one for place, one in enumerate(draw_tissue_probes(12))}
    write_folder(tmp_path / "monday", {name: encode(pixels[..., ::-1]) for name, pixels in names.items()})

    def run(*words: str) -> str:
        there = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "user"), "BCD_HOME": str(tmp_path / "home")}
        done = subprocess.run([bcd, *words], cwd=tmp_path, env=there, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "demo" in run("--help")
    assert "bcd-idc/released" in run("score", "monday", "--to", "out")
    assert len(list((tmp_path / "out").rglob("report.html"))) == 1
