"""`kill -9` at any stage: the same command again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
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
MOMENTS = ["Preparing patches", "Epoch 1 of 2", "Scoring test patients", "registered"]


def _run(home: Path, delivery: Path, *, kill_at: str | None = None) -> None:
    environment = {**os.environ, "BCD_HOME": str(home)}
    command = [sys.executable, str(JOB), str(delivery)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        for line in job.stdout:
            if kill_at is not None and line.startswith(kill_at):
                job.send_signal(signal.SIGKILL)
                break
        errors = job.stderr.read()
    assert job.returncode == (-signal.SIGKILL if kill_at else 0), errors


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
    tiny_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCD_TRAINING__EPOCHS", "2")
    delivery = draw_hospital(load_settings().options("synthetic", HospitalOptions), tmp_path / "drawn")[0]
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    (undisturbed / "bcd.toml").write_text((tiny_home / "bcd.toml").read_text())
    for moment in MOMENTS:
        _run(tiny_home, delivery, kill_at=moment)
    _run(tiny_home, delivery)
    _run(undisturbed, delivery)

    killed_state = _state(load_settings())
    monkeypatch.setenv("BCD_HOME", str(undisturbed))
    assert killed_state == _state(load_settings())
    assert killed_state["versions"] == [("1", "PROMOTE", ["anchor", "champion"])]
