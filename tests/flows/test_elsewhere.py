"""Runs that work on a study elsewhere: how many there are, what becomes of one that ends too soon, and of all.

No worker takes them here: their states are reported as one would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from jobs import make_job

import flows
from bcd.cli.deployments import deploy
from bcd.errors import BcdError
from bcd.search.job import Job
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from flows import elsewhere
from flows.elsewhere import train_elsewhere, work_elsewhere


class _Server:
    """The Prefect server with a deployment on the pool gpu."""

    def __init__(self, url: str, name: str = "trials") -> None:
        from prefect.client.orchestration import SyncPrefectClient

        self.url = url
        self._client = SyncPrefectClient(api=f"{url}/api")
        self.deployment = self.ask("GET", f"/deployments/name/{name}/{name}")["id"]

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
    # Whatever another test deployed on this server stays where nobody remembers it.
    deploy(settings.model_copy(update={"search": {"pool": "gpu"}}), url, flows.DEPLOYMENTS, reset=True)
    server = _Server(url)
    yield server
    for each in server.ask("POST", "/deployments/filter"):
        server._client.request("DELETE", f"/deployments/{each['id']}")
    server._client.request("DELETE", "/work_pools/gpu")


@pytest.fixture
def job(settings: Settings) -> Job:
    job = make_job(settings, trials=7, hours=2.0, heartbeat_seconds=9, workers=2, pool="gpu")
    return job.model_copy(update={"part": "refits"})


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


class _Ensemble:
    """A retraining of two networks, the steps that happen while it waits for them, and which are missing."""

    def __init__(self, server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members = _Server(server.url, "member")
        self.missing = [1, 2]
        self.steps: list[Callable[[], None]] = []
        self.retraining: Any = SimpleNamespace(key="4f1c", plan=SimpleNamespace(search=SearchOptions(pool="gpu")))
        monkeypatch.setattr("bcd.retraining.members.list_missing_members", lambda *_: list(self.missing))
        monkeypatch.setattr(elsewhere, "time", SimpleNamespace(sleep=lambda _: self.steps.pop(0)()))

    def finish(self, *places: int) -> None:
        """Ends runs well, by their places."""
        for run in [self.members.runs()[place] for place in places]:
            self.missing.remove(run["parameters"]["number"])
            self.members.report(run, "PENDING", "RUNNING", "COMPLETED")


@pytest.fixture
def ensemble(server: _Server, monkeypatch: pytest.MonkeyPatch) -> _Ensemble:
    return _Ensemble(server, monkeypatch)


def test_each_network_of_an_ensemble_is_a_run_and_one_that_lost_its_process_is_replaced(
    ensemble: _Ensemble, settings: Settings
) -> None:
    members = ensemble.members
    ensemble.steps = [
        lambda: members.report(members.runs()[0], "PENDING", "RUNNING", "CRASHED"),
        lambda: ensemble.finish(1),
        lambda: ensemble.finish(2),
    ]
    train_elsewhere(settings, ensemble.retraining)
    assert [run["parameters"] for run in members.runs()] == [{"plan": "4f1c", "number": each} for each in (1, 2, 1)]
    assert {run["work_pool_name"] for run in members.runs()} == {"gpu"}
    assert members.states() == ["CRASHED", "COMPLETED", "COMPLETED"]


def test_whoever_was_killed_while_it_waited_finds_the_runs_again(
    ensemble: _Ensemble, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    ensemble.steps = [die]
    with monkeypatch.context() as patch:
        patch.setattr(elsewhere, "_cancel", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            train_elsewhere(settings, ensemble.retraining)
    ensemble.steps = [lambda: ensemble.finish(0, 1)]
    train_elsewhere(settings, ensemble.retraining)
    assert ensemble.members.states() == ["COMPLETED", "COMPLETED"]


def test_a_network_that_cannot_be_trained_ends_the_training_and_the_same_again_starts_it_anew(
    ensemble: _Ensemble, settings: Settings
) -> None:
    members = ensemble.members

    def fail() -> None:
        members.report(members.runs()[0], "PENDING", "RUNNING")
        members.report(members.runs()[0], "FAILED", message="There is no snapshot.")

    ensemble.steps = [fail]
    with pytest.raises(BcdError, match="no snapshot"):
        train_elsewhere(settings, ensemble.retraining)
    assert members.states() == ["FAILED", "CANCELLED"]
    ensemble.steps = [lambda: ensemble.finish(2, 3)]
    train_elsewhere(settings, ensemble.retraining)
    assert members.states() == ["FAILED", "CANCELLED", "COMPLETED", "COMPLETED"]


def test_a_network_that_does_not_come_back_is_no_endless_training(ensemble: _Ensemble, settings: Settings) -> None:
    members = ensemble.members
    ensemble.steps = [lambda: members.report(members.runs()[0], "PENDING", "RUNNING", "COMPLETED")]
    with pytest.raises(BcdError) as raised:
        train_elsewhere(settings, ensemble.retraining)
    assert "store_url" in raised.value.fix
