"""What the Prefect server does by itself: made once, kept as a person set it, and told to a real endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import yaml

from bcd.cli.automations import compare_automations, keep_automations
from bcd.cli.deployments import compare_deployments, deploy
from bcd.settings import Settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deployment.yaml"
CRASH = "crash runs without heartbeat"
NAMES = [each["name"] for each in yaml.safe_load(FILE.read_text())["automations"]]


class Endpoint:
    """A webhook on this machine, and what it was sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, str]] = []
        received = self.sent

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait(self, count: int) -> list[dict[str, str]]:
        deadline = time.monotonic() + 120
        while len(self.sent) < count and time.monotonic() < deadline:
            time.sleep(0.2)
        return self.sent


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()


@pytest.fixture
def told_home(settings: Settings, endpoint: Endpoint) -> Settings:
    """A home whose notifications go to the endpoint."""
    return settings.model_copy(update={"notify_url": endpoint.url})


def names(dashboard: Any) -> list[str]:
    return sorted(each["name"] for each in dashboard.ask("POST", "/automations/filter"))


def emit(dashboard: Any, name: str, resource: dict[str, str], **payload: str) -> None:
    event = {"event": name, "resource": resource, "payload": payload}
    event |= {"id": str(uuid4()), "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    dashboard.ask("POST", "/events", [event])


def test_automations_are_made_once_and_nobody_is_notified_without_an_address(
    settings: Settings, endpoint: Endpoint, dashboard: Any
) -> None:
    told_home = settings.model_copy(update={"notify_url": endpoint.url})
    assert keep_automations(settings, dashboard.url, FILE) == []
    assert names(dashboard) == [CRASH]
    keep_automations(told_home, dashboard.url, FILE)
    made = dashboard.ask("POST", "/automations/filter")
    assert names(dashboard) == sorted(NAMES)
    assert keep_automations(told_home, dashboard.url, FILE) == []
    assert dashboard.ask("POST", "/automations/filter") == made
    assert compare_automations(told_home, dashboard.url, FILE) == []
    keep_automations(settings, dashboard.url, FILE)
    assert names(dashboard) == [CRASH]


def test_what_a_person_switched_off_stays_off_and_is_told(settings: Settings, dashboard: Any) -> None:
    keep_automations(settings, dashboard.url, FILE)
    [made] = dashboard.ask("POST", "/automations/filter")
    dashboard.ask("PATCH", f"/automations/{made['id']}", enabled=False)
    for told in (
        keep_automations(settings, dashboard.url, FILE),
        compare_automations(settings, dashboard.url, FILE),
    ):
        assert [line.partition(":")[0] for line in told] == [f"automation {CRASH}, enabled"]
    assert not dashboard.ask("POST", "/automations/filter")[0]["enabled"]
    keep_automations(settings, dashboard.url, FILE, reset=True)
    assert dashboard.ask("POST", "/automations/filter")[0]["enabled"]
    dashboard.ask("DELETE", f"/automations/{made['id']}")
    assert compare_automations(settings, dashboard.url, FILE) == [f"automation {CRASH}: missing."]


def test_events_and_failed_runs_reach_the_endpoint(told_home: Settings, dashboard: Any, endpoint: Endpoint) -> None:
    keep_automations(told_home, dashboard.url, FILE)
    bundle = {"prefect.resource.id": "bcd.bundle.3"}
    time.sleep(2)  # the server reads new automations between two events
    emit(dashboard, "bcd.verdict", bundle, sentence="PROMOTE of bcd-idc/3.")
    emit(dashboard, "bcd.drift", bundle, hospital="east")
    emit(dashboard, "bcd.disk.low", {"prefect.resource.id": "bcd.home"}, sentence="1 GiB is free.")
    # Of a notification's own failure nobody is told: that would go round for ever.
    for name in ("tell of drift", "retrain when a batch is admitted"):
        automation = {"prefect.resource.id": f"prefect.automation.{uuid4()}", "prefect.resource.name": name}
        emit(dashboard, "prefect.automation.action.failed", automation, reason="Unprocessable")
    sent = {each["subject"]: each["body"] for each in endpoint.wait(4)}
    time.sleep(2)
    assert len(endpoint.sent) == 4
    assert sent["bcd: the gate has decided"] == "PROMOTE of bcd-idc/3."
    assert '"hospital": "east"' in sent["bcd: drift"]
    assert sent["bcd: the disk is nearly full"] == "1 GiB is free."
    assert sent["bcd: an automation failed"] == "retrain when a batch is admitted: Unprocessable"


def test_a_failed_run_of_the_pool_is_told_once_with_its_sentence(
    told_home: Settings, dashboard: Any, endpoint: Endpoint
) -> None:
    deploy(told_home, dashboard.url, FILE)
    keep_automations(told_home, dashboard.url, FILE)
    score = dashboard.ask("GET", "/deployments/name/score/score")["id"]
    run = dashboard.ask("POST", f"/deployments/{score}/create_flow_run", name="score east", parameters={})
    time.sleep(2)
    for state, message in (("RUNNING", ""), ("FAILED", "No patient is named. Name one.")):
        body = {"type": state, "message": message}
        dashboard.ask("POST", f"/flow_runs/{run['id']}/set_state", state=body, force=True)
    [sent] = endpoint.wait(1)
    assert "score east" in sent["subject"]
    assert sent["body"].startswith("No patient is named. Name one.")


def test_a_run_whose_heartbeat_stopped_is_crashed(settings: Settings, dashboard: Any, tmp_path: Path) -> None:
    declared = yaml.safe_load(FILE.read_text())
    [crash] = [each for each in declared["automations"] if each["name"] == CRASH]
    crash["trigger"]["within"] = 10  # the least that Prefect takes
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(declared))
    keep_automations(settings, dashboard.url, tmp_path / "deployment.yaml")
    flow = dashboard.ask("POST", "/flows/", name="score")["id"]
    runs = [dashboard.ask("POST", "/flow_runs/", flow_id=flow, state={"type": "RUNNING"})["id"] for _ in range(2)]
    time.sleep(2)
    resources = [{"prefect.resource.id": f"prefect.flow-run.{run}"} for run in runs]
    emit(dashboard, "prefect.flow-run.heartbeat", resources[0])
    deadline = time.monotonic() + 120
    while dashboard.ask("GET", f"/flow_runs/{runs[0]}")["state_type"] == "RUNNING" and time.monotonic() < deadline:
        emit(dashboard, "prefect.flow-run.heartbeat", resources[1])
        time.sleep(2)
    assert [dashboard.ask("GET", f"/flow_runs/{run}")["state_type"] for run in runs] == ["CRASHED", "RUNNING"]


def test_what_differs_from_the_project_is_named(settings: Settings, dashboard: Any) -> None:
    def differences() -> list[str]:
        return compare_deployments(settings, dashboard.url, FILE)

    assert differences() == ["work pool bcd: missing."]
    deploy(settings, dashboard.url, FILE)
    assert differences() == []
    score = dashboard.ask("GET", "/deployments/name/score/score")
    dashboard.ask("PATCH", f"/deployments/{score['id']}", paused=True)
    dashboard.ask("DELETE", f"/deployments/{dashboard.ask('GET', '/deployments/name/ingest/ingest')['id']}")
    dashboard.ask("PATCH", "/work_pools/bcd", is_paused=True, base_job_template={})
    flow = score["flow_id"]
    dashboard.ask("POST", "/deployments/", name="old", flow_id=flow, tags=["bcd"])
    told = differences()
    assert len(told) == 5
    assert [line.partition(":")[0] for line in told] == ["work pool bcd", "work pool bcd", "ingest", "score", "old"]
    assert "paused" in told[3]
    assert not dashboard.ask("GET", "/work_pools/bcd")["base_job_template"]  # nothing was changed
