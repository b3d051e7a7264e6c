"""What made a run or a bundle: the versions of the packages and the commit of the code."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import bcd

PACKAGES = (
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "pandas",
    "pydantic",
    "scipy",
)
"""The packages that a bundle needs to be loaded and to score; its own code it carries."""

_TRAINING = ("keras", "tensorflow")
"""The packages that trained it."""


def package_versions() -> dict[str, str]:
    """Returns the version of bcd, and the installed version of each package that trains a bundle or scores."""
    return {"bcd": bcd.__version__} | required_versions() | {name: version(name) for name in _TRAINING}


def required_versions() -> dict[str, str]:
    """Returns the installed version of each package that has to be installed where a bundle scores."""
    return {name: version(name) for name in PACKAGES}


@cache
def git_commit() -> str | None:
    """Returns the commit of the running code; None where it is not a git checkout or git is absent."""
    folder = Path(__file__).parents[1]
    if not (folder / ".git").exists() or shutil.which("git") is None:
        return None
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False, timeout=10
    )
    return answer.stdout.strip() or None
