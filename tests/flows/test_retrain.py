"""The flow `retrain`: what it does before its stages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bcd.errors import InsufficientEvidenceError
from bcd.settings import Settings
from bcd.tracking.store import experiment_id, open_mlflow_client

KILLED = """
import os
from bcd.settings import load_settings
from bcd.tracking.store import start_run

with start_run(load_settings(), key="retrain/another", name="retrain another", kind="retrain"):
    os.kill(os.getpid(), 9)
"""


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_what_a_killed_retraining_left_running_is_ended_although_its_snapshot_is_no_longer_the_last(
    settings: Settings,
) -> None:
    """Regression: nobody goes on with it where patients have come meanwhile, and it ran for ever."""
    from flows.retrain import retrain

    subprocess.run([sys.executable, "-c", KILLED], check=False)
    client = open_mlflow_client(settings)
    [run] = client.search_runs([experiment_id(client)])
    assert run.info.status == "RUNNING"
    with pytest.raises(InsufficientEvidenceError):
        retrain()
    assert client.get_run(run.info.run_id).info.status == "KILLED"
