"""The order in which the flow `promote` does things, and what it leaves in Prefect."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

import flows.promote as stage
from bcd.gate.options import GateOptions
from bcd.gate.verdict import Check, Verdict
from bcd.settings import Settings

FOUND = Check(
    name="auroc", passed=True, enforced=True, text="It is better.", value=0.1, low=0.05, high=0.15, limit=-0.02
)
EVIDENCE = Check(name="evidence", passed=True, enforced=True, text="On 40 patients.")


def make_verdict(**changes: Any) -> Verdict:
    known = {
        "verdict": "PROMOTE",
        "reasons": ["It is better."],
        "checks": [EVIDENCE, *[FOUND] * 8],
        "challenger": "3",
    }
    return Verdict.model_validate(known | {"champion": "2"} | changes)


@pytest.fixture
def done(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the flow does, in its order; the gate proposes a promotion that a person has to approve."""
    steps: list[Any] = []
    plan = SimpleNamespace(gate=GateOptions(approval=True), evaluation="the evaluation")
    retraining = SimpleNamespace(snapshot="the snapshot", plan=plan, key="k")
    answers = {
        "gate_stage": make_verdict(awaits_approval=True),
        "recheck_champion": make_verdict(challenger="2", champion="1"),
        "run_deployment": None,
        "publish_markdown": None,
        "publish_picture": None,
    }

    def note(name: str) -> Any:
        def step(*arguments: Any, **named: Any) -> Any:
            steps.append((name, arguments, named))
            return answers[name]

        return step

    for name in answers:
        monkeypatch.setattr(stage, name, note(name))
    monkeypatch.setattr(stage, "report_to_prefect", nullcontext)  # Prefect's log needs a run
    monkeypatch.setattr(stage, "begin_stage_flow", lambda *_, **__: (settings, retraining))
    return steps


def test_the_ledger_is_published_a_person_asked_and_the_champion_evaluated_again(done: list[Any]) -> None:
    verdict = stage.promote.fn()

    names = [name for name, _, _ in done]
    assert names == [
        "gate_stage",
        "publish_markdown",
        "publish_picture",
        "run_deployment",
        "recheck_champion",
        "publish_markdown",
        "publish_picture",
    ]
    assert done[1][1][:2] == ("gate", verdict.markdown())
    assert "| auroc | yes | yes | It is better. |" in done[1][1][1]
    deployment, asked = done[3][1], done[3][2]
    assert (deployment, asked["parameters"]) == (("approve/approve",), {"version": "3"})
    assert asked["idempotency_key"] == "approve/k/3"  # asked once, however often the flow is run
    assert done[4][2]["snapshot"] == "the snapshot"
    assert done[5][1][0] == "champion-again"
