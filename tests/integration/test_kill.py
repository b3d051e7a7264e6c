"""`kill -9` at any stage: the same command again ends as if nothing had happened.

A search comes first at full size only: tests/search kills what does its trials.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bcd.settings import Settings, load_settings
from bcd.synthetic.hospital import draw_hospital
from bcd.synthetic.options import HospitalOptions

pytestmark = pytest.mark.integration

JOB = Path(__file__).with_name("job.py")
MOMENTS = ["Epoch 1 of 2", "registered"]
if os.environ.get("BCD_TEST_FULL") == "1":
    MOMENTS = ["Preparing patches", "Epoch 1 of 2", "Scoring test patients", "registered"]


class Job:
    """What forks off retrainings on a delivery."""

    def __init__(self, home: Path, delivery: Path, errors: Path) -> None:
        self._errors = errors
        self._process = subprocess.Popen(
            [sys.executable, str(JOB), str(delivery)],
            env={**os.environ, "BCD_HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors.open("w"),
            text=True,
        )

    def run(self, home: Path, *, kill_at: str | None = None) -> None:
        """Retrains in a home, to its end or to a step at which it is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(home, file=self._process.stdin, flush=True)
        number = int(self._process.stdout.readline() or self._errors.read_text())
        for line in self._process.stdout:
            if kill_at is not None and line.startswith(kill_at):
                os.kill(number, signal.SIGKILL)
            if line.startswith("ended"):
                assert int(line.split()[1]) == (-signal.SIGKILL if kill_at else 0), self._errors.read_text()
                return
        raise AssertionError(self._errors.read_text())

    def end(self) -> None:
        """Ends what forks them off."""
        self._process.communicate()


def _state(settings: Settings) -> dict[str, object]:
    """What must be equal, however often the job was killed."""
    from bcd.gate.history import list_versions_with_verdicts
    from bcd.store.decisions import list_stored_decisions
    from bcd.store.delivery_queries import list_batches
    from bcd.store.store import open_store

    store = open_store(settings)
    versions = list_versions_with_verdicts(settings)
    [training] = settings.work.glob("*/network/training.json")
    history = json.loads(training.read_text())["history"]
    return {
        "batches": [batch.batch for batch in list_batches(store)],
        "snapshots": sorted(path.name for path in settings.snapshots.iterdir()),
        "decisions": [(decision.key, decision.verdict) for decision in list_stored_decisions(store)],
        "versions": [(version.version, version.verdict, version.aliases) for version in versions],
        "epochs": [round(row["loss"], 5) for row in history],
        "metrics": {name: round(value, 4) for name, value in versions[0].metrics.items()},
    }


def test_killed_at_every_stage_it_ends_as_an_undisturbed_run(
    tiny_home: Path, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCD_TRAINING__EPOCHS", "2")
    delivery = draw_hospital(load_settings().options("synthetic", HospitalOptions), tmp_path / "drawn")[0]
    (tiny_home / "mlflow").mkdir()
    shutil.copy(empty_database, tiny_home / "mlflow")
    undisturbed = shutil.copytree(tiny_home, tmp_path / "undisturbed")
    job = Job(tmp_path / "job", delivery, tmp_path / "errors.txt")
    for moment in MOMENTS:
        job.run(tiny_home, kill_at=moment)
    job.run(tiny_home)
    job.run(undisturbed)
    job.end()

    killed_state = _state(load_settings())
    monkeypatch.setenv("BCD_HOME", str(undisturbed))
    assert killed_state == _state(load_settings())
    assert killed_state["versions"] == [("1", "PROMOTE", ["anchor", "champion"])]
