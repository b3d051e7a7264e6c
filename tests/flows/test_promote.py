"""The order in which the flow `promote` does things, and what it leaves in Prefect."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from registered import Register
from stored import new_store

from bcd.gate.options import GateOptions
from bcd.gate.overrides import force_promotion
from bcd.retraining.plan import write_plan
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_the_ledger_is_published_a_person_asked_and_the_champion_evaluated_again(
    registry_settings: Settings,
    register: Register,
    make_hospital: Callable[..., Snapshot],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefect.artifacts import Artifact
    from prefect.states import Scheduled

    import flows.approve as question
    import flows.promote as stage

    monkeypatch.setenv("BCD_HOME", str(registry_settings.home))
    (registry_settings.home / "bcd.toml").write_text("[evaluation]\nresamples = 200\n")
    store, snapshot = new_store(registry_settings), make_hospital(registry_settings)
    register(registry_settings, "green", key="first", snapshot=snapshot.id)
    force_promotion(store, "1", SignOff("Dr Lee", "the first one"))
    retraining = write_plan(registry_settings, snapshot, gate=GateOptions(approval=True))
    register(registry_settings, "red", key=retraining.key, snapshot=snapshot.id)
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
