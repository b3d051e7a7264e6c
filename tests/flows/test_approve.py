"""The question to a person, on a real server: asked on the dashboard, answered there, recorded in the catalog."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from prefect.states import State

from bcd.evaluation.outcome import FOUND, NOT_FOUND
from bcd.gate.overrides import find_awaiting_sign_off
from bcd.gate.verdict import Verdict
from bcd.patches import Hospital, PatientId, SnapshotId
from bcd.scoring.shadow import Agreement
from bcd.settings import Settings
from bcd.store.decisions import Decision, list_stored_decisions, store_decision
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def waiting(settings: Settings) -> Settings:
    """A home whose registry holds one version that scored a patient in shadow, and that the gate proposes."""
    from mlflow import MlflowClient

    from bcd.tracking.lookup import KEY_TAG, MODEL
    from bcd.tracking.store import experiment_id, open_mlflow_client

    client: MlflowClient = open_mlflow_client(settings)
    client.create_registered_model(MODEL)
    model = client.create_logged_model(experiment_id(client), name=MODEL)
    source = f"models:/{model.model_id}"
    client.create_model_version(MODEL, source, tags={KEY_TAG: "k"})
    verdict = Verdict(
        verdict="PROMOTE",
        reasons=["It is better."],
        checks=[],
        challenger="1",
        champion=None,
        awaits_approval=True,
    )
    decision = Decision(
        key="gate/k",
        decided_at=datetime.now(UTC),
        verdict="PROMOTE",
        challenger="1",
        champion=None,
        snapshot=SnapshotId("a" * 64),
        reasons=verdict.reasons,
        evidence={
            "verdict": verdict.model_dump(mode="json"),
            "awaits_approval": True,
            "bundle": "k",
            "model": source,
        },
    )
    store_decision(open_store(settings), decision)
    agreement = Agreement(
        hospital=Hospital("east"),
        patient=PatientId("8867"),
        champion="bcd-idc/0",
        challenger="bcd-idc/1",
        content="c",
        patches=1200,
        same_side={"0.5": 0.9},
        difference=0.3,
        champion_outcome=FOUND,
        challenger_outcome=NOT_FOUND,
        at=datetime.now(UTC),
    )
    folder = settings.shadow / "east" / "8867" / "bcd-idc-1-beside-bcd-idc-0-c"
    folder.mkdir(parents=True)
    (folder / "agreement.json").write_text(agreement.model_dump_json())
    return settings


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_the_flow_suspends_until_a_person_answers_and_records_the_answer(
    waiting: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (waiting.home / "bcd.toml").write_text('[gate]\napprovers = ["Dr May", "Dr Lee"]\n')
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))  # Prefect puts the folder of a flow that it loads in front
    monkeypatch.setenv("BCD_HOME", str(waiting.home))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    answer = {"verdict": "HOLD", "by": "Dr Lee", "reason": "not before the audit"}
    shutil.copytree(ROOT / "flows", tmp_path / "project/flows")
    form, state = asyncio.run(_ask_and_answer(tmp_path / "project", answer))

    found, _, shadow = form.partition("## In shadow")
    assert "Dr May, Dr Lee" in found
    assert "It is better." in found
    assert f"| east/8867 | 1,200 | 0.300 | {FOUND} | {NOT_FOUND} | no | 90.0 % |" in shadow
    assert state.is_completed()
    decision = list_stored_decisions(open_store(waiting))[-1]
    assert (decision.kind, decision.verdict) == ("approval", "HOLD")
    assert decision.sign_off == SignOff("Dr Lee", "not before the audit")
    assert find_awaiting_sign_off(open_store(waiting)) is None


async def _ask_and_answer(project: Path, answer: dict[str, str]) -> tuple[str, State]:
    """Does what `bcd up` and a person at the dashboard do: deploys, runs, presses Resume and fills in the form.

    Args:
        project: Holds the flows, and little else: Prefect copies it for each run.
        answer: What the person fills in.

    Returns:
        What stands above the form, and the run's last state.
    """
    from prefect import Flow, get_client
    from prefect.client.schemas.objects import StateType
    from prefect.flow_runs import resume_flow_run

    approve = await Flow.from_source(str(project), "flows/approve.py:approve")
    deployment = await (await approve.to_deployment("approve")).apply()
    async with get_client() as client:
        run = await client.create_flow_run_from_deployment(deployment, parameters={"version": "1"})
        _execute(run.id)
        suspended = await client.read_flow_run(run.id)
        assert suspended.state.type == StateType.PAUSED, suspended.state
        shown = await client.read_flow_run_input(
            run.id, suspended.state.state_details.run_input_keyset["description"]
        )
        refused = await client.resume_flow_run(run.id, run_input=answer | {"verdict": "PERHAPS"})
        assert refused.status.value == "REJECT"  # by the server, against the form
        await resume_flow_run(run.id, run_input=answer)
        _execute(run.id)
        return json.loads(shown), (await client.read_flow_run(run.id)).state


def _execute(run: UUID) -> None:
    """Runs a flow run as a worker does, in a process of its own that ends when the run is suspended."""
    from prefect.settings import get_current_settings

    command = [str(Path(sys.executable).parent / "prefect"), "flow-run", "execute", str(run)]
    environment = os.environ | get_current_settings().to_environment_variables(exclude_unset=True)
    subprocess.run(command, env=environment, check=False)


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_what_was_answered_meanwhile_is_not_asked_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.approve import approve

    open_store(settings)
    assert approve("1") == "answered before"
