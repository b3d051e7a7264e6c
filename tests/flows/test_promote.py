"""The order in which the flow `promote` does things, and what it leaves in Prefect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from challenged import Challenged

from bcd.store.decisions import list_stored_decisions


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_the_ledger_is_published_a_person_asked_and_the_champion_evaluated_again(
    challenged: Challenged, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.artifacts import Artifact
    from prefect.states import Scheduled

    import flows.approve as question
    import flows.promote as stage

    store, retraining = challenged
    asked: list[Any] = []

    def ask(deployment: str, *, parameters: dict[str, str], idempotency_key: str, **_: Any) -> SimpleNamespace:
        asked.append((deployment, parameters, idempotency_key, Artifact.get("gate").data))
        return SimpleNamespace(state=Scheduled())

    monkeypatch.setattr(question, "run_deployment", ask)  # of Prefect: nothing is deployed here

    verdict = stage.promote()

    assert (verdict.verdict, verdict.challenger, verdict.awaits_approval) == ("PROMOTE", "2", True)
    # Once, however often the flow is run, and about what can be read already.
    assert asked == [("approve/approve", {"version": "2"}, f"approve/gate/{retraining.key}/0", verdict.markdown())]
    assert [one.kind for one in list_stored_decisions(store)] == ["forced", "gate", "recheck"]
    assert list_stored_decisions(store)[-1].challenger == "1"
    assert all(Artifact.get(key) is not None for key in ("gate-plot", "champion-again"))
