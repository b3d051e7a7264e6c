"""A run that hangs is ended, so that it does not keep its deployment's slot; a command of a person is not.

In processes of their own: a process whose faults pytest reports may be too short of stack to be interrupted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bcd.settings import Settings
from bcd.timeouts import TimeoutOptions

ROOT = Path(__file__).parents[2]
HANGING = """
import sys, time
from flows import timeouts
from bcd.errors import BcdError

timeouts._GRACE_SECONDS = 0.5
try:
    with timeouts.limit_time():
        {hang}
except BcdError as error:
    sys.exit(f"ended: {{error}}")
print("not ended")
"""


def run(hang: str, settings: Settings, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a flow that hangs, as a worker would that gave it 0.36 s."""
    named = {"BCD_HOME": str(settings.home), "BCD_TIMEOUTS__MONITOR": "0.0001"}
    named |= {"PREFECT__RUNTIME__FLOW_RUN__FLOW_NAME": "monitor", "PREFECT__RUNTIME__DEPLOYMENT__ID": "of monitor"}
    command = [sys.executable, "-c", HANGING.format(hang=hang)]
    return subprocess.run(
        command, env=os.environ | named | variables, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize(
    "hang", ["time.sleep(280)", "with timeouts.limit_time(): time.sleep(280)"], ids=["itself", "a flow that it calls"]
)
def test_a_run_that_hangs_fails_with_a_sentence_that_names_the_setting(hang: str, settings: Settings) -> None:
    ended = run(hang, settings)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "ended: The run of monitor did not end within 0.0001 hours" in ended.stderr
    assert "[timeouts]" in ended.stderr


def test_the_process_of_one_that_cannot_be_interrupted_ends_and_tells_where_it_was(settings: Settings) -> None:
    ended = run("sum(range(10**15))", settings)  # one call that looks at no signal and lets no thread run
    assert (ended.returncode, ended.stdout) == (1, "")
    assert 'File "<string>", line 9' in ended.stderr


@pytest.mark.parametrize(
    "variable",
    ["PREFECT__RUNTIME__DEPLOYMENT__ID", "PREFECT__RUNTIME__FLOW_RUN__FLOW_NAME"],
    ids=["command", "stage"],
)
def test_what_no_worker_runs_has_no_limit(variable: str, settings: Settings) -> None:
    assert run("time.sleep(1)", settings, **{variable: ""}).stdout == "not ended\n"


def test_every_flow_that_is_deployed_has_a_limit() -> None:
    deployed = yaml.safe_load((ROOT / "deployment.yaml").read_text())["deployments"]
    assert {each["name"] for each in deployed} == set(TimeoutOptions.model_fields)
