"""The promises of the project's layout, and the pitfalls of the libraries that it stands on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import bcd

ROOT = Path(__file__).parents[1]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
HEAVY = ("tensorflow", "keras", "mlflow", "optuna", "matplotlib", "distributed")


def _loaded_after(statement: str, tmp_path: Path) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"BCD_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_imports_point_one_way() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_flow_modules_import_without_heavy_libraries(tmp_path: Path) -> None:
    # Prefect imports them at deploy time and again for every run.
    loaded = _loaded_after(f"import {', '.join(f'flows.{flow}' for flow in FLOWS)}", tmp_path)
    assert "prefect" in loaded
    assert not loaded.intersection(HEAVY)


def test_the_command_starts_without_heavy_libraries(tmp_path: Path) -> None:
    show = "import bcd.cli.main; from typer.testing import CliRunner as R; R().invoke(bcd.cli.main.app, {})"
    for words in (["--help"], ["config", "show"]):
        loaded = _loaded_after(show.format(words), tmp_path)
        assert "bcd.config" in loaded
        assert not loaded.intersection((*HEAVY, "prefect", "pandas", "sqlalchemy", "cv2", "scipy", "sklearn"))


def _list_imported(path: Path) -> Iterator[str]:
    """Yields the libraries that a file imports, wherever in it."""
    for line in re.findall(r"^ *((?:import|from) \w.*)$", path.read_text(), re.MULTILINE):
        try:
            [statement] = ast.parse(line.removesuffix("(") + "(a)" * line.endswith("(")).body
        except SyntaxError:  # a sentence of a docstring
            continue
        if isinstance(statement, ast.Import):
            yield from (name.name.split(".")[0] for name in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module.split(".")[0]


def test_every_library_that_is_imported_is_declared() -> None:
    # One that only another library brings would go missing when that one no longer needs it.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [each for name, each in project["optional-dependencies"].items() if name not in {"dev", "docs"}]
    declared = {re.split(r"[\[<>=~]", one)[0] for each in [project["dependencies"], *extras] for one in each}
    files = [path for folder in ("bcd", "flows") for path in (ROOT / folder).rglob("*.py")]
    imported = {name for path in files for name in _list_imported(path)}
    assert {"numpy", "prefect", "yaml"} <= imported
    imported -= sys.stdlib_module_names | {"bcd", "flows"}
    brought = {
        name: {re.sub("[-_.]+", "-", one).lower() for one in by} for name, by in packages_distributions().items()
    }
    assert {name for name in imported if declared.isdisjoint(brought[name])} == set()


def test_the_mlflow_folder_never_shadows_the_library() -> None:
    import mlflow

    assert not (ROOT / "mlflow/__init__.py").exists()
    assert not list((ROOT / "mlflow").glob("*.py"))
    assert hasattr(mlflow, "__version__")


def test_the_wheel_packs_bcd_and_flows_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["bcd", "flows"]


def test_the_file_store_of_mlflow_is_never_allowed() -> None:
    sources = [
        *ROOT.glob("bcd/**/*.py"),
        *ROOT.glob("flows/*.py"),
        ROOT / "deployment.yaml",
        ROOT / "Makefile",
    ]
    assert not [path for path in sources if "MLFLOW_ALLOW_FILE_STORE" in path.read_text()]


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.lock")), ids=lambda lock: lock.name)
def test_locks_pin_every_package_by_hash_and_name_no_index(lock: Path) -> None:
    text = lock.read_text()
    pinned = re.findall(r"^[a-z0-9][a-z0-9._-]*(?:\[[a-z0-9,-]+\])?==", text, re.MULTILINE)
    assert pinned
    assert text.count("--hash=sha256:") >= len(pinned)
    assert not re.search(r"index-url|find-links|https?://", text)


def test_a_lock_serves_running_and_testing_alike() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / name).read_text()
        return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9,-]+\])?==(\S+)", text, re.MULTILINE))

    development = pins("requirements-dev.lock")
    assert pins("requirements.lock").items() <= development.items()


def test_every_make_target_is_in_the_help() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE):
        assert re.search(rf"^ +make {target} +\S", done.stdout, re.MULTILINE), target


def test_every_place_names_the_same_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version == bcd.__version__
    assert version in re.findall(
        r"^## (?:Unreleased \()?([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_hooks_are_this_checkout_s_own_programs() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repository["hooks"])
