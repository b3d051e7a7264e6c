"""Flows run on their own, with or without a server, from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bcd.settings import Settings

FLOWS = Path(__file__).parents[2] / "flows"


def _run(flow: str, settings: Settings, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    command = [sys.executable, str(FLOWS / f"{flow}.py")]
    environment |= {"BCD_HOME": str(settings.home), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180"}
    environment |= variables
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.integration
def test_ingest_runs_without_a_server_and_finds_an_empty_inbox(prefect_home: Settings, tmp_path: Path) -> None:
    done = _run("ingest", prefect_home, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Completed" in done.stdout + done.stderr


@pytest.mark.integration
def test_a_flow_that_cannot_go_on_fails_and_says_why(
    settings: Settings, prefect_server: None, tmp_path: Path
) -> None:
    from prefect.settings import PREFECT_API_URL

    done = _run("preprocess", settings, tmp_path, PREFECT_API_URL=PREFECT_API_URL.value())  # saves a server
    assert done.returncode != 0
    assert "InsufficientEvidenceError" in done.stderr
