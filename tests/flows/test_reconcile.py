"""What a killed promotion left undone is done by `reconcile`, wherever it was killed, and nothing twice."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from challenged import Challenged

from bcd.bundle.aliases import DONE_TAG
from bcd.gate.followed import FOLLOWED, TOLD
from bcd.gate.history import list_versions_with_verdicts
from bcd.gate.overrides import find_awaiting_sign_off
from bcd.retraining.reconcile import find_unfinished
from bcd.settings import Settings
from bcd.store.decisions import list_stored_decisions
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import experiment_id, open_mlflow_client

STEPS = (
    "bcd.gate.promotion.move_registry_aliases",  # the decision is recorded
    "bcd.bundle.aliases.move_registry_aliases",  # and still no alias has moved
    "flows.promote.find_gate_decision",  # all have
    "flows.promote._tell_verdict",  # the ledger is published
    "flows.promote.mark",  # the verdict is told
    "flows.promote.ask_for_approval",  # that is noted
    "flows.promote.recheck_champion",  # a person is asked
    "flows.promote.mark",  # the champion is evaluated again
)
"""The functions that a run is killed at, one run after another."""


def die(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def server(prefect_server: None) -> Any:
    """A Prefect server on which `approve` is deployed, and that no worker serves."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow_from_name("approve"), "approve")
        yield client


def list_questions(server: Any, since: datetime) -> list[Any]:
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    runs = server.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["approve"])))
    return [run for run in runs if run.created >= since]


def list_told(server: Any, since: datetime) -> list[dict[str, Any]]:
    told = {"event": {"name": ["bcd.verdict"]}, "resource": {"id": ["bcd.bundle.2"]}}
    body = {"filter": told | {"occurred": {"since": since.isoformat()}}}
    deadline = time.monotonic() + 60  # the server writes events down in its own time
    while not (found := server.request("POST", "/events/filter", json=body).json()["events"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


@pytest.mark.integration
def test_wherever_a_promotion_is_killed_the_end_is_as_if_it_had_not_been(
    challenged: Challenged, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.states import Failed

    from flows.promote import promote
    from flows.reconcile import reconcile

    store, retraining = challenged
    began = datetime.now(UTC)  # other tests ask the same server about their versions 2
    assert (find_unfinished(store).plan, find_unfinished(store).half_done) == (None, None)

    run = promote
    for step in STEPS:
        with monkeypatch.context() as patch:
            patch.setattr(step, die)
            with pytest.raises(KeyboardInterrupt):
                run()
        assert find_unfinished(store).plan == retraining.key
        run = reconcile

    reconcile()
    unfinished = find_unfinished(store)
    assert (unfinished.half_done, unfinished.plan) == (None, None)
    assert [one.kind for one in list_stored_decisions(store)] == ["forced", "gate", "recheck"]
    aliases = {alias: one.version for one in list_versions_with_verdicts(store.settings) for alias in one.aliases}
    assert aliases == {"champion": "1", "challenger": "2", "anchor": "1"}
    client = open_mlflow_client(store.settings)
    tags = client.get_model_version(MODEL, "2").tags
    key = list_stored_decisions(store)[1].key
    assert [tags[tag] for tag in (DONE_TAG, TOLD, FOLLOWED)] == [key] * 3
    runs = client.search_runs([experiment_id(client)])
    assert {each.info.status for each in runs} == {"FINISHED"}
    assert len(list_told(server, began)) == 1
    [question] = list_questions(server, began)
    assert (question.parameters, question.state.is_final()) == ({"version": "2"}, False)

    server.set_flow_run_state(question.id, Failed(name="TimedOut"), force=True)
    for _ in range(2):
        reconcile()
        assert find_awaiting_sign_off(store) is not None
        assert [each.state.is_final() for each in list_questions(server, began)].count(False) == 1
        assert len(list_questions(server, began)) == 2


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_where_nothing_is_left_undone_nothing_is_done(settings: Settings) -> None:
    from flows.reconcile import reconcile

    assert reconcile() == []
