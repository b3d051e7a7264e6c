"""A run that hangs is ended, so that it does not keep its deployment's slot; a command of a person is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from prefect import flow

from bcd.settings import Settings
from bcd.timeouts import TimeoutOptions
from flows.reporting import told_to_prefect

ROOT = Path(__file__).parents[2]
STUCK = """
import ctypes
from contextlib import suppress
from prefect import runtime
from flows import timeouts

timeouts._GRACE_SECONDS = 0.5
with timeouts.limit_time():
    ctypes.PyDLL(None).sleep(120)  # keeps the interpreter: nothing of Python's runs meanwhile
"""


@flow(name="monitor")
@told_to_prefect
def hang(seconds: float) -> str:
    """Hangs, under the name of a flow that is deployed."""
    time.sleep(seconds)
    return "not ended"


@pytest.fixture(autouse=True)
def short(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCD_TIMEOUTS__MONITOR", "0.0001")


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_hangs_fails_with_a_sentence_that_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hang(0.6) == "not ended"
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "as a worker runs it")
    state = hang(300, return_state=True)
    assert state.is_failed()
    assert "0.0001 hours" in str(state.message)
    assert "[timeouts]" in str(state.message)


def test_the_process_of_one_that_cannot_be_interrupted_ends_and_tells_where_it_was() -> None:
    named = {"PREFECT__RUNTIME__FLOW_RUN__FLOW_NAME": "monitor", "PREFECT__RUNTIME__DEPLOYMENT__ID": "it"}
    ended = subprocess.run(
        [sys.executable, "-c", STUCK], env=os.environ | named, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert 'File "<string>", line 9' in ended.stderr


def test_every_flow_that_is_deployed_has_a_limit() -> None:
    deployed = yaml.safe_load((ROOT / "deployment.yaml").read_text())["deployments"]
    assert {each["name"] for each in deployed} == set(TimeoutOptions.model_fields)
