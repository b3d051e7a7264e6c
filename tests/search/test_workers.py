"""Workers: processes of their own, on this machine and on others, that join a study, die, and are replaced."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
from jobs import make_job
from workbench import Bench, Here, Killed, write_hospital

from bcd.errors import BcdError, NotFoundError
from bcd.preprocessing.options import PrepareOptions
from bcd.progress import show_progress
from bcd.search import workers
from bcd.search.job import Job, make_joining_job
from bcd.search.options import SearchOptions
from bcd.search.records import StudyResult
from bcd.search.storage import find_study, read_study_inputs
from bcd.search.study import join_study, run_study
from bcd.search.trial import open_trials
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.training.options import TrainOptions

Study = Callable[..., StudyResult]
TINY = TrainOptions(batch_size=40)


class Notes:
    """Keeps what is said, and what is done at it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.at: dict[str, Callable[[], None]] = {}

    @contextmanager
    def track(self, description: str, total: float | None):
        yield lambda amount: None

    def say(self, message: str) -> None:
        self.said.append(message)
        for words in [words for words in self.at if message.startswith(words)]:
            self.at.pop(words)()


def _wait(worker: workers.Worker) -> None:
    while not worker.has_ended(1):
        pass


def _children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "bcd.search.worker" in " ".join(each.cmdline())]


@pytest.mark.integration
def test_a_worker_is_a_process_and_one_that_is_killed_is_replaced(study: Study, settings: Settings) -> None:
    notes, seen = Notes(), set()

    def kill() -> None:
        [child] = _children()
        seen.add(child.pid)
        child.kill()

    notes.at = {"Trial 0: compact": kill, "Epoch 1 of 1": lambda: seen.update(each.pid for each in _children())}
    with show_progress(notes):
        result = study(SearchOptions(trials=0, dissertation=False, epochs=1, seeds=1), TINY)
    assert len(seen) == 2
    assert [said for said in notes.said if "(signal 9)" in said]
    assert [(trial.number, trial.state) for trial in result.trials] == [(0, "complete")]
    assert len(list((settings.work / "references").glob("compact-*/network.keras"))) == 1
    assert not _children()


def test_gate_and_test_patients_are_never_read(study: Study, jobs: list[Job], tmp_path: Path) -> None:
    options = SearchOptions(trials=0, dissertation=False, epochs=1, best=0)
    values = []
    for name in ("as they are", "garbage"):
        home = Settings(home=tmp_path / name)
        snapshot = write_hospital(home)
        if name == "garbage":
            unseen = snapshot.patches["split"].isin(["gate", "test"]).to_numpy()
            pixels = np.load(home.batches / "b" / "pixels.npy")
            pixels[unseen] = np.random.default_rng(1).integers(0, 256, pixels[unseen].shape)
            np.save(home.batches / "b" / "pixels.npy", pixels)
        result = study(options, TINY, settings=home, snapshot=snapshot)
        values.append(([row["val_loss"] for row in result.trials[0].history], result.note))
    assert values[0] == values[1]


PLACES = ":".join(map(str, Path(__file__).parents[:2]))
"""Where the helpers of these tests lie, and what they import."""

STARTER = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from pathlib import Path
from bcd.preprocessing.options import PrepareOptions
from bcd.search.options import SearchOptions
from bcd.search.study import run_study
from bcd.settings import Settings
from bcd.training.options import TrainOptions
from workbench import write_hospital

settings = Settings(home=Path(sys.argv[2]))
options = SearchOptions(trials=0, dissertation=False, seeds=1)
run_study(settings, write_hospital(settings), PrepareOptions(), options, TrainOptions())
"""


@pytest.mark.integration
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_whoever_started_them(tmp_path: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-c", STARTER, PLACES, str(tmp_path / "home")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as starter:
        known = psutil.Process(starter.pid)
        children: list[psutil.Process] = []
        while not children and starter.poll() is None:
            children = known.children()
            time.sleep(0.05)
        assert children, "no worker was started"
        starter.send_signal(end)
        starter.wait(timeout=300)
    gone, alive = psutil.wait_procs(children, timeout=300)
    assert gone
    assert not alive


def test_a_crash_is_told_with_the_last_words_of_the_worker(tmp_path: Path) -> None:
    job = make_job(Settings(home=tmp_path / "home")).model_copy(update={"settings": {"home": 5}})
    worker = workers.Worker(job, {}, bars=False)
    with pytest.raises(BcdError, match="TypeError: expected str"):
        _wait(worker)


def test_a_database_without_studies_or_that_is_away_is_named(settings: Settings) -> None:
    """Regression: it was Optuna's error, of a table that is missing."""
    told: pytest.ExceptionInfo[BcdError]
    with pytest.raises(NotFoundError, match=r"sqlite:///.*optuna\.db") as told:
        join_study(settings, "a-study", "trials", trials=1, hours=0.0, heartbeat_seconds=60)
    assert "study_url" in told.value.fix
    away = settings.model_copy(update={"study_url": "postgresql://bcd:secret@127.0.0.1:1/studies"})
    with pytest.raises(BcdError, match=r"postgresql.*127\.0\.0\.1:1/studies") as told:
        join_study(away, "a-study", "trials", trials=1, hours=0.0, heartbeat_seconds=60)
    assert "secret" not in str(told.value)


def test_workers_share_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert workers.share_machine(0, 1) == {}
    shares = [workers.share_machine(place, 3) for place in range(3)]
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["2", "5", "2"]
    assert {share["TF_NUM_INTRAOP_THREADS"] for share in shares} == {"2"}


def test_a_worker_lost_on_another_machine_is_replaced_here(
    settings: Settings, snapshot: Snapshot, bench: Bench, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    there = settings.model_copy(update={"study_url": storage})
    here = Settings(home=tmp_path / "here", study_url=storage)
    options = SearchOptions(trials=0, epochs=2, seeds=1, pruning=False, heartbeat_seconds=1)
    bench.kill_at = (2, 1)
    with pytest.raises(Killed):
        run_study(there, snapshot, PrepareOptions(), options, TrainOptions())
    notes = Notes()
    with show_progress(notes):
        result = run_study(here, write_hospital(here), PrepareOptions(), options, TrainOptions())
    assert [name for name, *_ in bench.trained] == ["trial-0", "trial-1", "trial-1"]
    assert re.findall(r"\d+", notes.said[0]) == ["1"]  # trial that others are at
    assert [(each.number, each.state) for each in result.trials] == [(0, "complete"), (1, "complete")]
    assert [len(each.history) for each in result.trials] == [2, 2]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_trial_that_another_home_has_taken_over_is_left_to_it(
    settings: Settings, snapshot: Snapshot, bench: Bench, tmp_path: Path
) -> None:
    """Regression: where it had begun, its folder was free, and so it was put back into the queue again and again."""
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    here = settings.model_copy(update={"study_url": storage})
    there = Settings(home=tmp_path / "there", study_url=storage)
    options = SearchOptions(trials=0, epochs=2, seeds=1, dissertation=False)
    bench.kill_at = (1, 1)
    with pytest.raises(Killed):
        run_study(here, snapshot, PrepareOptions(), options, TrainOptions())
    [name] = optuna.get_all_study_names(storage=storage)
    study = find_study(here, name, options)
    job = make_joining_job(
        here, name, read_study_inputs(here, name), "references", trials=0, hours=0.0, heartbeat_seconds=60
    )
    queue, seen = open_trials(job, study), []
    assert queue.look().running == 0  # it goes back into the queue, under its own number
    assert [trial.state.name for trial in study.get_trials()] == ["WAITING"]

    def look(number: int, seed: int, epoch: int) -> float:
        seen.append(queue.look().running)
        return 0.8

    bench.score = look
    write_hospital(there)
    join_study(there, name, "references", trials=0, hours=0.0, heartbeat_seconds=60)
    assert seen == [1, 1]
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # filters of warnings are not the threads' own
def test_others_do_trials_and_refits_and_who_asked_them_trains_nothing(
    bench: Bench, jobs: list[Job], tmp_path: Path, postgres: Any
) -> None:
    options = SearchOptions(trials=3, epochs=2, seeds=2, best=1, workers=2, pool="gpu", pruning=False)
    storage = postgres.url(postgres.make_database())  # on SQLite two machines may take the same trial
    here, *homes = (Settings(home=tmp_path / name, study_url=storage) for name in ("here", "one", "other"))
    [snapshot, *_] = [write_hospital(home) for home in (here, *homes)]
    asked: list[tuple[str, int]] = []

    @contextmanager
    def elsewhere(job: Job, most: int) -> Iterator[Callable[[], None]]:
        asked.append((job.part, most))
        assert job.options.pool == "gpu"

        def join(home: Settings) -> None:
            join_study(home, job.study, job.part, trials=job.options.trials, hours=0.0, heartbeat_seconds=60)

        with ThreadPoolExecutor(most) as pool:  # flock and Optuna take threads for processes
            joined = [pool.submit(join, home) for home in homes[:most]]
            yield lambda: None
            for each in joined:
                each.result()

    result = run_study(here, snapshot, PrepareOptions(), options, TrainOptions(), elsewhere=elsewhere)
    assert asked == [("references", 2), ("refits", 2), ("trials", 2), ("refits", 2)]
    assert {job.load_settings().home for job in jobs} <= {home.home for home in homes}
    counted = [each for each in result.trials if each.state != "too large"]
    assert [each.state for each in counted] == ["complete"] * 5
    seeds = [name for name, *_ in bench.trained if "seed" in name]
    assert sorted(seeds) == sorted(
        {f"trial-{number}-seed-{seed}" for number in (0, result.gains[0].trial) for seed in (1, 2)}
    )
    assert len(bench.trained) == len(counted) + len(seeds)
    jobs.clear()
    again = run_study(here, snapshot, PrepareOptions(), options, TrainOptions(), elsewhere=elsewhere)
    assert (again, jobs, len(asked)) == (result, [], 4)


def test_what_is_not_there_is_not_joined(settings: Settings, study: Study, bench: Bench) -> None:
    name = study(SearchOptions(trials=1, seeds=2, best=1, dissertation=False)).study
    for wrong in ("nothing", f"{name}-refits"):
        with pytest.raises(NotFoundError, match=wrong):
            join_study(settings, wrong, "trials", trials=1, hours=0.0, heartbeat_seconds=60)


@pytest.mark.filterwarnings("ignore::UserWarning")  # filters of warnings are not the threads' own
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_several_join_a_study_and_keep_its_budget(
    settings: Settings, snapshot: Snapshot, bench: Bench, database: str, request: pytest.FixtureRequest
) -> None:
    if database == "postgresql":
        postgres = request.getfixturevalue("postgres")
        settings = settings.model_copy(update={"study_url": postgres.url(postgres.make_database())})
    options = SearchOptions(trials=4, epochs=1, seeds=1, heartbeat_seconds=5)

    def join() -> StudyResult:
        return run_study(settings, snapshot, PrepareOptions(), options, TrainOptions())

    with ThreadPoolExecutor(3) as pool:  # flock and Optuna take threads for processes
        results = [each.result() for each in [pool.submit(join) for _ in range(3)]]
    assert results[0] == results[1] == results[2]
    counted = [each for each in results[0].trials if each.state != "too large"]
    assert len(counted) == 6
    names = [name for name, *_ in bench.trained]
    assert sorted(names) == sorted({f"trial-{each.number}" for each in counted})
    assert names.count("trial-0") == names.count("trial-1") == 1


def test_a_storage_that_cannot_be_opened_is_told(settings: Settings, snapshot: Snapshot) -> None:
    for url in ("nonsense", "postgresql://nobody:secret@127.0.0.1:1/none"):
        elsewhere = settings.model_copy(update={"study_url": url})
        with pytest.raises(BcdError, match="BCD_STUDY_URL") as raised:
            run_study(elsewhere, snapshot, PrepareOptions(), SearchOptions(), TrainOptions())
        assert "secret" not in str(raised.value)


class _AtItsTurn:
    """A worker whose process takes its time: it does its job when it is asked whether it has ended."""

    def __init__(self, job: Job, events: list[str]) -> None:
        self.job, self.events = job, events
        events.append("starts")

    def has_ended(self, seconds: float) -> bool:
        here = Here(self.job)
        self.events.append("ends")
        return bool(here.has_ended(seconds))

    def kill(self) -> None:
        return


@pytest.mark.parametrize(("seeds", "at_once"), [(1, 3), (2, 2)])
def test_references_and_proposals_begin_together_unless_noise_is_measured_between(
    study: Study, bench: Bench, monkeypatch: pytest.MonkeyPatch, seeds: int, at_once: int
) -> None:
    events: list[str] = []
    monkeypatch.setattr(workers, "Worker", lambda job, environment, *, bars: _AtItsTurn(job, events))
    found = study(SearchOptions(trials=1, seeds=seeds, workers=3))
    assert events.index("ends") == at_once
    assert [trial.kind for trial in found.trials] == ["reference", "reference", "proposed"]
