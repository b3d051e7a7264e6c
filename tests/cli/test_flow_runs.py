"""The runs that nobody carries out any more, on a real Prefect server: they end, and their deployment is free."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from bcd.cli import daemons
from bcd.cli.flow_runs import (
    drop_missed_flow_runs,
    end_unfinished_flow_runs,
    find_flow_runs_of,
    tell_flow_runs_crashed,
)
from bcd.search.options import POOL
from bcd.settings import Settings

NOW = datetime.now(UTC)


class _Server:
    """A Prefect server with one deployment of one slot, and runs in any state."""

    def __init__(self, dashboard: Any) -> None:
        self.url = dashboard.url
        self.ask = dashboard.ask
        self.flow = self.ask("POST", "/flows/", name="ingest")["id"]
        self.ask("POST", "/work_pools/", name=POOL, type="process")
        deployment = {"name": "ingest", "flow_id": self.flow, "work_pool_name": POOL, "concurrency_limit": 1}
        made = self.ask("POST", "/deployments/", **deployment)
        self.deployment = made["id"]
        self._queue = made["work_queue_id"]

    def runs(self) -> set[str]:
        return {run["id"] for run in self.ask("POST", "/flow_runs/filter")}

    def start(self, *states: str) -> str:
        """Makes a run that goes through states as a worker would report them."""
        run = self.ask("POST", f"/deployments/{self.deployment}/create_flow_run")["id"]
        for state in states:
            self.report(run, state)
        return str(run)

    def report(self, run: str, state: str, name: str | None = None) -> str:
        answer = self.ask("POST", f"/flow_runs/{run}/set_state", state={"type": state, "name": name or state.title()})
        return str(answer["status"])

    def state(self, run: str) -> str:
        return str(self.ask("GET", f"/flow_runs/{run}")["state"]["name"])

    def slots(self) -> int:
        found = self.ask("GET", f"/deployments/{self.deployment}")
        return int(found["global_concurrency_limit"]["active_slots"])

    def schedule(self, due: datetime, *, auto: bool = True) -> str:
        """Makes a scheduled run, as the server itself does from a schedule or as a person does."""
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        if auto:
            return self._insert(due)
        made = self.ask("POST", f"/deployments/{self.deployment}/create_flow_run", state=state)
        return str(made["id"])

    def due(self, before: datetime) -> list[str]:
        """Returns the runs that a worker gets which asks at a time, the first to start first."""
        answer = self.ask("POST", f"/work_pools/{POOL}/get_scheduled_flow_runs", scheduled_before=before.isoformat())
        return [each["flow_run"]["id"] for each in answer]

    def _insert(self, due: datetime) -> str:
        """Only the server's own schedules make such runs, and only in the future."""
        from prefect.server import models
        from prefect.server.database import provide_database_interface
        from prefect.server.schemas.core import FlowRun
        from prefect.server.schemas.states import Scheduled
        from prefect.utilities.asyncutils import run_coro_as_sync

        async def insert() -> str:
            async with provide_database_interface().session_context(begin_transaction=True) as session:
                ids = {"flow_id": self.flow, "deployment_id": self.deployment, "work_queue_id": self._queue}
                run = FlowRun(**ids, auto_scheduled=True, state=Scheduled(scheduled_time=due))
                return str((await models.flow_runs.create_flow_run(session, run)).id)

        return str(run_coro_as_sync(insert()))


@pytest.fixture
def server(dashboard: Any) -> _Server:
    return _Server(dashboard)


@pytest.mark.parametrize(
    ("states", "end"),
    [
        (["PENDING"], "Crashed"),
        (["PENDING", "RUNNING"], "Crashed"),
        (["PENDING", "RUNNING", "CANCELLING"], "Cancelled"),
    ],
    ids=["pending", "running", "cancelling"],
)
def test_a_run_that_had_begun_ends_and_its_slot_is_free(states: list[str], end: str, server: _Server) -> None:
    run = server.start(*states)
    assert server.slots() == 1
    waiting = server.start()
    assert server.report(waiting, "PENDING") == "REJECT"  # as every later run, for ever
    assert server.state(waiting) == "AwaitingConcurrencySlot"
    assert end_unfinished_flow_runs(server.url) == 1
    assert server.state(run) == end
    assert server.slots() == 0
    assert server.state(waiting) == "AwaitingConcurrencySlot"  # it goes on by itself
    later = server.start()
    assert server.report(later, "PENDING") == "ACCEPT"


def test_a_slot_that_no_run_holds_is_free(server: _Server) -> None:
    """As after a server was killed between a run and its slot."""
    limit = server.ask("GET", f"/deployments/{server.deployment}")["global_concurrency_limit"]["id"]
    server.ask("PATCH", f"/v2/concurrency_limits/{limit}", active_slots=1)
    assert end_unfinished_flow_runs(server.url) == 0
    assert server.slots() == 0


def test_the_runs_that_a_run_called_end_with_it(server: _Server) -> None:
    parent = server.start("PENDING", "RUNNING")
    task = {"flow_run_id": parent, "task_key": "search", "dynamic_key": "0", "state": {"type": "RUNNING"}}
    called = {"flow_id": server.flow, "parent_task_run_id": server.ask("POST", "/task_runs/", **task)["id"]}
    child = str(server.ask("POST", "/flow_runs/", **called, state={"type": "RUNNING"})["id"])
    assert end_unfinished_flow_runs(server.url) == 2
    assert (server.state(parent), server.state(child)) == ("Crashed", "Crashed")


def test_what_a_run_started_on_another_pool_lives_on(server: _Server) -> None:
    parent = server.start("PENDING", "RUNNING")
    server.ask("POST", "/work_pools/", name="gpu", type="process")
    made = {"name": "trials", "flow_id": server.flow, "work_pool_name": "gpu"}
    deployment = server.ask("POST", "/deployments/", **made)["id"]
    task = {"flow_run_id": parent, "task_key": "trials", "dynamic_key": "0", "state": {"type": "RUNNING"}}
    called = {"parent_task_run_id": server.ask("POST", "/task_runs/", **task)["id"]}
    run = server.ask("POST", f"/deployments/{deployment}/create_flow_run", **called)["id"]
    server.report(run, "PENDING")
    server.report(run, "RUNNING")
    assert end_unfinished_flow_runs(server.url) == 1
    assert (server.state(parent), server.state(run)) == ("Crashed", "Running")


def test_runs_whose_worker_was_ended_are_told_as_crashed_and_what_had_ended_stays(server: _Server) -> None:
    done, under_way = (server.start("PENDING", "RUNNING", *more) for more in (["COMPLETED"], []))
    tell_flow_runs_crashed(server.url, [done, under_way])
    assert [server.state(run) for run in (done, under_way)] == ["Completed", "Crashed"]
    assert server.slots() == 0


def test_the_runs_of_a_worker_are_known_by_its_processes() -> None:
    sleep = [sys.executable, "-c", "import subprocess, sys; subprocess.run(['sleep', '300'])"]
    with subprocess.Popen(sleep, env=os.environ | {"PREFECT__FLOW_RUN_ID": "a-run"}) as worker:
        process = psutil.Process(worker.pid)
        while not process.children():
            time.sleep(0.05)
        found = find_flow_runs_of(process)
        for each in (*process.children(), process):
            each.kill()
    assert found == ["a-run"]
    assert find_flow_runs_of(process) == []


def test_what_has_not_begun_is_suspended_or_has_ended_is_left_alone(server: _Server) -> None:
    future = server.schedule(NOW + timedelta(hours=1), auto=False)
    late = server.schedule(NOW - timedelta(hours=1), auto=False)
    done = server.start("PENDING", "RUNNING", "COMPLETED")
    suspended = server.start("PENDING", "RUNNING", "PAUSED")
    before = [server.state(run) for run in (future, late, done, suspended)]
    assert end_unfinished_flow_runs(server.url) == 0
    assert [server.state(run) for run in (future, late, done, suspended)] == before


def test_after_three_days_down_a_nightly_schedule_catches_up_once(server: _Server) -> None:
    nightly = {"schedule": {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}}
    server.ask("POST", f"/deployments/{server.deployment}/schedules", items=[nightly])
    server.ask("POST", f"/deployments/{server.deployment}/schedule", min_runs=5)
    assert len(server.runs()) >= 5
    future = NOW + timedelta(days=3)  # nothing ran since, neither server nor worker
    assert len(server.due(future)) == 3
    last = server.due(future)[-1]
    assert drop_missed_flow_runs(server.url, future) == 2
    assert server.due(future) == [last]


def test_on_a_server_that_others_use_too_what_came_due_meanwhile_is_one_and_what_runs_goes_on(
    server: _Server, settings: Settings
) -> None:
    """Regression: there nothing was dropped, and three nights' runs began one after another."""
    running = server.start("PENDING", "RUNNING")
    missed = [server.schedule(NOW - timedelta(days=days)) for days in (3, 2, 1)]
    [told] = daemons._end_runs_at_start(settings.model_copy(update={"prefect_url": server.url}), server.url)
    assert "2 dropped" in told
    assert server.runs() == {running, missed[-1]}
    assert server.state(running) == "Running"


def test_scheduled_runs_that_came_due_meanwhile_are_one(server: _Server) -> None:
    missed = [server.schedule(NOW - timedelta(minutes=minutes)) for minutes in (70, 69, 3, 2)]
    by_person = server.schedule(NOW - timedelta(minutes=30), auto=False)
    future = server.schedule(NOW + timedelta(hours=1))
    assert drop_missed_flow_runs(server.url) == 3
    assert server.runs() == {missed[-1], by_person, future}
    assert drop_missed_flow_runs(server.url) == 0
