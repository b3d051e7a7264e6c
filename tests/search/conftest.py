"""A home with a snapshot that is easy to learn, and a study whose workers are this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bcd.preprocessing.options import PrepareOptions
from bcd.search import workers
from bcd.search.job import Job
from bcd.search.options import SearchOptions
from bcd.search.records import StudyResult
from bcd.search.study import run_study
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.training import fit
from bcd.training.options import TrainOptions

sys.path.insert(0, str(Path(__file__).parent))

from workbench import Bench, Here, write_hospital

Study = Callable[..., StudyResult]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty home."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    """144 patches of 36 patients, in every split."""
    return write_hospital(settings)


@pytest.fixture
def study(settings: Settings, snapshot: Snapshot) -> Study:
    """Runs a study of the snapshot."""

    def run(
        options: SearchOptions | None = None,
        training: TrainOptions | None = None,
        preparation: PrepareOptions | None = None,
        **further: Any,
    ) -> StudyResult:
        return run_study(
            further.pop("settings", settings),
            further.pop("snapshot", snapshot),
            preparation or PrepareOptions(),
            options or SearchOptions(seeds=1),
            training or TrainOptions(),
            **further,
        )

    return run


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Workers do their jobs in this process; the jobs that they were given."""
    given: list[Job] = []

    def start(job: Job, environment: dict[str, str], *, bars: bool) -> Here:
        given.append(job)
        return Here(job)

    monkeypatch.setattr(workers, "Worker", start)
    return given


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, jobs: list[Job]) -> Bench:
    """The first trial after the known two is the best, later ones are worse and worse."""
    bench = Bench(
        lambda number, seed, epoch: (0.9 - number / 100 if number > 1 else 0.8 - number / 10) + epoch / 1000
    )
    monkeypatch.setattr(fit, "train_network", bench.train)
    return bench
