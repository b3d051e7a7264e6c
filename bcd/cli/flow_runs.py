"""The runs of the Prefect server that nobody carries out any more, or that came due while nobody could.

A run whose process was killed keeps its deployment's only slot: every later run waits, or is cancelled, for ever. So
`bcd down` and `bcd up` end such runs where no worker lives. Where a worker was away, the scheduled runs that came due
meanwhile are one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bcd.search.options import POOL

if TYPE_CHECKING:
    import httpx
    import psutil
    from prefect.client.orchestration import SyncPrefectClient

_PAGE = 200  # the server's own limit
_WITH_PROCESS = ["PENDING", "RUNNING", "CANCELLING"]
_UNFINISHED = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]


def end_unfinished_flow_runs(prefect: str) -> int:
    """Ends every run of bcd's pool that has begun, frees the deployments' slots, and returns the number of runs.

    Runs that wait for a slot or for their time are left alone, and those that a person suspended. To be called while
    no worker lives.

    Args:
        prefect: Address of the Prefect server.
    """
    with open_prefect_client(prefect) as client:
        begun = _filter_flow_runs(client, state={"type": {"any_": _WITH_PROCESS}}, pool=True)
        family = list(begun)
        while begun:  # the flows that a run calls are runs of their own, of no pool; those of another pool live on
            parents = {"any_": [run["id"] for run in begun]}
            called = _filter_flow_runs(client, parent_flow_run_id=parents, state={"type": {"any_": _WITH_PROCESS}})
            begun = [run for run in called if run["work_pool_name"] in (None, POOL)]
            family += begun
        for run in family:
            cancelled = run["state_type"] == "CANCELLING"
            state = {
                "type": "CANCELLED" if cancelled else "CRASHED",
                "message": "Its process is gone: the worker was stopped or killed.",
            }
            url = f"/flow_runs/{run['id']}/set_state"
            client.request("POST", url, json={"state": state, "force": True})
        for deployment in _list_deployments(client):
            limit = deployment["global_concurrency_limit"]
            if limit and limit["active_slots"]:
                client.request("PATCH", f"/v2/concurrency_limits/{limit['id']}", json={"active_slots": 0})
    return len(family)


def drop_missed_flow_runs(prefect: str, now: datetime | None = None) -> int:
    """Deletes the scheduled runs that came due while no worker lived, but each deployment's last; returns how many.

    The pool's one worker is that of the home which deploys, also on a server that others use too.

    Args:
        prefect: Address of the Prefect server.
        now: The time; None: the clock's.
    """
    with open_prefect_client(prefect) as client:
        due = _filter_flow_runs(
            client,
            state={"name": {"any_": ["Scheduled", "Late"]}},
            expected_start_time={"before_": (now or datetime.now(UTC)).isoformat()},
            pool=True,
            sort="EXPECTED_START_TIME_DESC",
        )
        kept: set[str] = set()
        dropped = 0
        for run in due:
            if not run["auto_scheduled"]:  # a person or an event asked for this one
                continue
            if run["deployment_id"] in kept:
                client.request("DELETE", f"/flow_runs/{run['id']}")
                dropped += 1
            kept.add(run["deployment_id"])
    return dropped


def find_flow_runs_of(worker: psutil.Process) -> list[str]:
    """Returns the ids of the flow runs whose processes a worker has started and that live."""
    import psutil

    found = set()
    with suppress(psutil.NoSuchProcess):
        for process in worker.children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                found.add(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
    return sorted(found - {""})


def tell_flow_runs_crashed(prefect: str, runs: list[str]) -> None:
    """Tells the server that runs have no process any more; one that has ended stays as it ended.

    Args:
        prefect: Address of the Prefect server, which other machines use too.
        runs: Their ids.
    """
    with open_prefect_client(prefect) as client:
        for run in runs:
            state = {"type": "CRASHED", "message": "Its process is gone: the worker was stopped."}
            found = client.request("GET", f"/flow_runs/{run}").json()
            if found["state_type"] in _WITH_PROCESS:
                client.request("POST", f"/flow_runs/{run}/set_state", json={"state": state})


def connect_server(api: str) -> httpx.Client:
    """Returns a plain client of Prefect's interface, for a process that stays: Prefect's own takes 60 MB.

    Args:
        api: Address of the interface, such as http://127.0.0.1:4200/api.
    """
    import httpx

    user, colon, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    return httpx.Client(base_url=api, auth=(user, password) if colon else None, timeout=30)


def find_deployment(server: httpx.Client, name: str) -> dict[str, Any]:
    """Returns the deployment of a name, which its flow has too."""
    found: dict[str, Any] = server.get(f"/deployments/name/{name}/{name}").raise_for_status().json()
    return found


def start_flow_run(server: httpx.Client, deployment: str, parameters: dict[str, str] | None = None) -> None:
    """Starts a run of a deployment, by its id."""
    asked = {"parameters": parameters or {}}
    server.post(f"/deployments/{deployment}/create_flow_run", json=asked).raise_for_status()


def list_begun_flow_runs(server: httpx.Client, deployment: str) -> list[dict[str, Any]]:
    """Lists the unfinished runs of a deployment, but those that a schedule foresees for later."""
    now = datetime.now(UTC)
    return [
        run
        for run in list_unfinished_flow_runs(server, deployment=deployment)
        if not run["auto_scheduled"]
        or run["state_type"] != "SCHEDULED"
        or datetime.fromisoformat(run["expected_start_time"]) <= now
    ]


def list_unfinished_flow_runs(server: httpx.Client, *, flow: str = "", deployment: str = "") -> list[dict[str, Any]]:
    """Lists the runs that have not ended, of a flow by its name or of a deployment by its id."""
    wanted: dict[str, Any] = {"flow_runs": {"state": {"type": {"any_": _UNFINISHED}}}}
    wanted |= {"flows": {"name": {"any_": [flow]}}} if flow else {}
    wanted |= {"deployments": {"id": {"any_": [deployment]}}} if deployment else {}
    found: list[dict[str, Any]] = server.post("/flow_runs/filter", json=wanted).raise_for_status().json()
    return found


def open_prefect_client(prefect: str) -> SyncPrefectClient:
    """Returns the client of the Prefect server at an address."""
    # Prefect's own: its server answers 503 where its SQLite is busy, and the client asks again.
    from prefect.client.orchestration import SyncPrefectClient

    return SyncPrefectClient(api=f"{prefect}/api", auth_string=os.environ.get("PREFECT_API_AUTH_STRING"))


def _filter_flow_runs(
    client: SyncPrefectClient, *, pool: bool = False, sort: str = "ID_DESC", **conditions: Any
) -> list[dict[str, Any]]:
    wanted: dict[str, Any] = {"flow_runs": conditions, "sort": sort, "limit": _PAGE}
    if pool:
        wanted["work_pools"] = {"name": {"any_": [POOL]}}
    runs: list[dict[str, Any]] = []
    while True:
        page = client.request("POST", "/flow_runs/filter", json=wanted | {"offset": len(runs)}).json()
        runs += page
        if len(page) < _PAGE:
            return runs


def _list_deployments(client: SyncPrefectClient) -> list[dict[str, Any]]:
    wanted = {"work_pools": {"name": {"any_": [POOL]}}}
    found: list[dict[str, Any]] = client.request("POST", "/deployments/filter", json=wanted).json()
    return found
