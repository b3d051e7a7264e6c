"""bcd as an installation has it: from its wheel, without the project's folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@dataclass(frozen=True)
class Installation:
    """The folder of an installed wheel, and a folder of nothing where its commands are typed.

    Attributes:
        site: What the wheel was unpacked to.
        folder: Where processes run; BCD_HOME is `home` in it, and the user's home `user`.
    """

    site: Path
    folder: Path

    @property
    def home(self) -> Path:
        """BCD_HOME of the processes."""
        return self.folder / "home"

    def run(self, code: str, **variables: str) -> str:
        """Runs code with the installed wheel, and without the project's folder; returns what it printed."""
        hide = f"import sys; sys.path[:] = [entry for entry in sys.path if entry != {str(ROOT)!r}]\n"
        paths = [str(self.site), *filter(None, [variables.pop("PYTHONPATH", "")])]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "user"),
            "BCD_HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(paths),
            **variables,
        }
        command = [sys.executable, "-c", hide + code]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bcd(self, *arguments: str, **variables: str) -> str:
        """Runs a command of bcd and returns what it printed."""
        return self.run(f"from bcd.cli.main import main; sys.argv = {['bcd', *arguments]!r}; main()", **variables)


@pytest.fixture(scope="session")
def wheel(make_once: MakeOnce) -> Path:
    """The built wheel."""

    def build(folder: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    (built,) = make_once("wheel", build).glob("*.whl")
    return built


@pytest.fixture(scope="session")
def site(wheel: Path, make_once: MakeOnce) -> Path:
    """The folder that the wheel is unpacked to, as an installation does."""

    def unpack(folder: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)

    return make_once("site-packages", unpack)


@pytest.fixture
def installation(site: Path, tmp_path: Path) -> Installation:
    """The installed wheel and an empty folder."""
    return Installation(site, tmp_path)
