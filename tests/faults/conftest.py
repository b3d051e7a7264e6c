"""The hospital of a row, and what was played before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # its modules import each other by their bare names

from hospital import draw_deliveries

from bcd.synthetic.options import HospitalOptions

OPTIONS = """
inbox_quiet_seconds = 1

[search]
trials = 1
dissertation = false
epochs = 1
seeds = 1
best = 0

[training]
epochs = 2
min_train_patients = 4
min_val_patients = 2

[evaluation]
resamples = 200
min_patients = 3
min_patches = 10

[gate]
min_patients = 2
"""


@pytest.fixture(scope="session")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The delivery of the day."""
    options = HospitalOptions(large_patients=0, small_patches=14)
    return draw_deliveries(options, {"delivery": 16}, tmp_path_factory.mktemp("drawn"))["delivery"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many MiB and returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def mount(megabytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk needs root")
        mounted.append(folder)
        return folder

    yield mount
    for each in mounted:
        subprocess.run(["umount", each], check=True)


@pytest.fixture(scope="session")
def make_home(prefect_database: Path, empty_database: Path) -> Callable[[Path], Path]:
    """Makes a BCD_HOME in a folder, on which nothing has run yet."""

    def make(folder: Path) -> Path:
        home = folder / "home"
        for name, database in (("prefect", prefect_database), ("mlflow", empty_database)):
            (home / name).mkdir(parents=True)
            shutil.copy(database, home / name)
        (home / "bcd.toml").write_text(OPTIONS)
        return home

    return make
