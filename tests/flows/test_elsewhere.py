"""Runs that work on a study elsewhere: how many there are, what becomes of one that ends too soon, and of all.

No worker takes them here: their states are reported as one would.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import flows
from bcd.cli.deployments import deploy
from bcd.errors import BcdError
from bcd.preprocessing.options import PrepareOptions
from bcd.search.job import Job
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from bcd.training.options import TrainOptions
from flows import elsewhere
from flows.elsewhere import work_elsewhere


class _Server:
    """The Prefect server with the deployment `trials`, on the pool gpu."""

    def __init__(self, url: str) -> None:
        from prefect.client.orchestration import SyncPrefectClient

        self.url = url
        self._client = SyncPrefectClient(api=f"{url}/api")
        self.deployment = self.ask("GET", "/deployments/name/trials/trials")["id"]

    def ask(self, method: str, path: str, **body: Any) -> Any:
        return self._client.request(method, path, json=body).json()

    def runs(self) -> list[dict[str, Any]]:
        """Lists the runs of the deployment, the first first."""
        of = {"deployments": {"id": {"any_": [self.deployment]}}, "sort": "START_TIME_ASC"}
        return sorted(self.ask("POST", "/flow_runs/filter", **of), key=lambda run: str(run["created"]))

    def report(self, run: dict[str, Any], *states: str, message: str = "") -> None:
        for state in states:
            body = {"state": {"type": state, "message": message}}
            assert self.ask("POST", f"/flow_runs/{run['id']}/set_state", **body)["status"] == "ACCEPT"

    def states(self) -> list[str]:
        return [str(run["state_type"]) for run in self.runs()]


@pytest.fixture
def server(prefect_server: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    from prefect.settings import PREFECT_API_URL

    monkeypatch.setattr(elsewhere, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(elsewhere, "_END_SECONDS", 0.0)
    url = PREFECT_API_URL.value().removesuffix("/api")
    deploy(settings.model_copy(update={"search": {"pool": "gpu"}}), url, flows.DEPLOYMENTS)
    server = _Server(url)
    yield server
    server._client.request("DELETE", f"/deployments/{server.deployment}")
    server._client.request("DELETE", "/work_pools/gpu")


@pytest.fixture
def job(settings: Settings) -> Job:
    options = SearchOptions(trials=7, hours=2.0)
    return Job(
        part="refits",
        study="a-study",
        settings=settings.model_dump(mode="json"),
        snapshot="f" * 64,
        preparation=PrepareOptions(),
        training=TrainOptions(),
        search=options.model_dump(mode="json") | {"heartbeat_seconds": 9, "workers": 2, "pool": "gpu"},
    )


def test_each_is_told_the_study_its_part_and_its_budget_and_no_setting_of_this_machine(
    server: _Server, job: Job
) -> None:
    with work_elsewhere(job, 2):
        runs = server.runs()
    asked = {"study": "a-study", "part": "refits", "trials": 7, "hours": 2.0, "heartbeat_seconds": 9}
    assert [run["parameters"] for run in runs] == [asked, asked]
    assert {run["work_pool_name"] for run in runs} == {"gpu"}
    assert server.states() == ["CANCELLED", "CANCELLED"]  # that no worker has taken


def test_one_that_lost_its_process_is_replaced_and_one_that_ended_well_too_while_something_is_left(
    server: _Server, job: Job
) -> None:
    with work_elsewhere(job, 2) as keep_up:
        first, second = server.runs()
        server.report(first, "PENDING", "RUNNING", "CRASHED")
        server.report(second, "PENDING", "RUNNING")
        keep_up()
        keep_up()
        assert server.states() == ["CRASHED", "RUNNING", "SCHEDULED"]
        server.report(second, "COMPLETED")
        keep_up()
        assert server.states() == ["CRASHED", "COMPLETED", "SCHEDULED", "SCHEDULED"]


def test_one_that_runs_at_the_end_is_told_to_end(server: _Server, job: Job) -> None:
    def search() -> None:
        with work_elsewhere(job, 1):
            server.report(server.runs()[0], "PENDING", "RUNNING")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search()
    assert server.states() == ["CANCELLING"]


def test_one_that_failed_ends_the_study_with_its_sentence(server: _Server, job: Job) -> None:
    with work_elsewhere(job, 2) as keep_up:
        server.report(server.runs()[0], "PENDING", "RUNNING")
        server.report(server.runs()[0], "FAILED", message="There is no snapshot.")
        with pytest.raises(BcdError, match="no snapshot"):
            keep_up()
    assert server.states() == ["FAILED", "CANCELLED"]


def test_one_that_a_person_cancelled_is_not_replaced(server: _Server, job: Job) -> None:
    with work_elsewhere(job, 2) as keep_up:
        first, second = server.runs()
        server.report(first, "CANCELLED")
        keep_up()
        assert server.states() == ["CANCELLED", "SCHEDULED"]
        server.report(second, "CANCELLED")
        with pytest.raises(BcdError, match="cancelled"):
            keep_up()


def test_without_a_server_there_is_no_pool(job: Job) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(BcdError, match="gpu"),
        work_elsewhere(job, 1),
    ):
        raise AssertionError
