"""The service that looks for what a killed process left undone, on a real Prefect server: one run, and only then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bcd.bundle.aliases import DONE_TAG, explain_aliases
from bcd.bundle.rows import read_registered_versions
from bcd.cli.deployments import deploy
from bcd.cli.flow_runs import connect_server
from bcd.cli.unfinished_watcher import UnfinishedWatcher
from bcd.cli.watcher_log import WatcherLog
from bcd.errors import BcdError
from bcd.gate.followed import FOLLOWED
from bcd.gate.verdict import Verdict
from bcd.retraining.reconcile import carry_out_last_decision
from bcd.settings import Settings, load_settings
from bcd.store.decisions import list_stored_decisions
from bcd.store.store import Store
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

ROOT = Path(__file__).parents[2]


class _Watched:
    """A home, the runs of `reconcile` that its watcher starts, and the questions that are open."""

    def __init__(self, dashboard: Any) -> None:
        self.ask = dashboard.ask
        self.watcher = UnfinishedWatcher(connect_server(f"{dashboard.url}/api"), WatcherLog())
        self.reconcile, self.approve = (
            self.ask("GET", f"/deployments/name/{name}/{name}")["id"] for name in ("reconcile", "approve")
        )

    def look(self) -> list[str]:
        """Looks as after a quarter of an hour; returns the states of the runs that were started, first to last."""
        self.watcher._looks_at = 0.0
        self.watcher.look()
        return [run["state_type"] for run in self.started()]

    def started(self) -> list[dict[str, Any]]:
        runs = self.ask("POST", "/flow_runs/filter", deployments={"id": {"any_": [self.reconcile]}})
        return [run for run in runs if not run["auto_scheduled"]]

    def end(self) -> None:
        for run in self.started():
            self.ask("POST", f"/flow_runs/{run['id']}/set_state", state={"type": "COMPLETED"}, force=True)


@pytest.fixture
def watched(undecided: Settings, dashboard: Any, monkeypatch: pytest.MonkeyPatch) -> _Watched:
    monkeypatch.setenv("BCD_HOME", str(undecided.home))
    monkeypatch.setenv("BCD_CATALOG_URL", undecided.catalog_url)
    deploy(load_settings(), dashboard.url, ROOT / "deployment.yaml")
    return _Watched(dashboard)


def kill_gate(gate: Callable[..., Verdict], version: str, **options: Any) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bcd.gate.promotion.move_registry_aliases", die)
        with pytest.raises(KeyboardInterrupt):
            gate(version, **options)


def test_a_run_is_started_while_something_is_undone_and_never_two_at_once(
    watched: _Watched, gate: Callable[..., Verdict], store: Store
) -> None:
    assert watched.look() == []
    kill_gate(gate, "1")
    assert watched.look() == ["SCHEDULED"]
    assert watched.look() == ["SCHEDULED"]
    watched.end()
    assert watched.look() == ["COMPLETED"], "the same is tried again after a while"
    watched.watcher._starts_at = 0.0
    assert sorted(watched.look()) == ["COMPLETED", "SCHEDULED"]
    watched.end()
    watched.watcher._starts_at = 0.0
    assert carry_out_last_decision(store) is not None
    assert watched.look() == ["COMPLETED", "COMPLETED"]


def test_a_deployment_that_is_paused_is_left_alone(watched: _Watched, gate: Callable[..., Verdict]) -> None:
    kill_gate(gate, "1")
    watched.ask("PATCH", f"/deployments/{watched.reconcile}", paused=True)
    assert watched.look() == []


def test_a_question_that_nobody_asks_is_asked_and_one_that_is_open_is_not(
    watched: _Watched, gate: Callable[..., Verdict]
) -> None:
    gate("1")
    gate("2", approval=True)
    run = watched.ask("POST", f"/deployments/{watched.approve}/create_flow_run", parameters={"version": "2"})
    assert watched.look() == []
    state = {"type": "FAILED", "name": "TimedOut"}
    watched.ask("POST", f"/flow_runs/{run['id']}/set_state", state=state, force=True)
    assert watched.look() == ["SCHEDULED"]


def test_aliases_that_a_killed_process_has_not_moved_are_nobody_s_hand(
    undecided: Settings, gate: Callable[..., Verdict], store: Store
) -> None:
    """Regression: the champion's alias was said to be deleted by hand."""
    from bcd.bundle.registry import require_version

    kill_gate(gate, "1")
    told = explain_aliases(read_registered_versions(undecided), store)
    assert told is not None
    assert ("reconcile" in told[1], "by hand" in told[0]) == (True, False)
    with pytest.raises(BcdError, match="reconcile"):
        require_version(undecided, "champion")

    assert carry_out_last_decision(store) == list_stored_decisions(store)[-1]
    assert require_version(undecided, "champion") == "1"
    assert explain_aliases(read_registered_versions(undecided), store) is None
    tags = open_mlflow_client(undecided).get_model_version(MODEL, "1").tags
    assert (DONE_TAG in tags, FOLLOWED in tags) == (True, False)
    assert carry_out_last_decision(store) is None
