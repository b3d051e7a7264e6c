"""Approve: a person is asked on the dashboard whether a promotion that the gate proposes is to be carried out.

The run is suspended until somebody presses Resume and fills in the form; no process waits meanwhile. On resuming, the
flow starts again from the top, and finds the answer. `bcd model approve` answers too; the form then finds nothing to
ask.

Examples:
        bcd up, and `[gate] approval = true` in bcd.toml
"""

from __future__ import annotations

from typing import Literal

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow, get_run_logger
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from bcd.config import load_configuration
from bcd.gate.approvers import list_approvers
from bcd.gate.overrides import answer_approval, find_awaiting_sign_off
from bcd.gate.shadow import describe_gate_page
from bcd.progress import say_progress
from bcd.store.decisions import Decision
from bcd.store.sign_off import LONGEST, SignOff
from bcd.store.store import open_store
from flows.forms import Text
from flows.reporting import publish_markdown, report_to_prefect, told_to_prefect

_DAYS = 90


class Approval(RunInput):
    """What a person answers about a promotion, with name and reason."""

    verdict: Literal["PROMOTE", "HOLD", "REJECT"] = Field(description="PROMOTE: it becomes champion now.")
    by: str = Field(min_length=1, max_length=LONGEST["by"], description="Who decides.")
    reason: str = Field(min_length=1, max_length=LONGEST["reason"], description="Why; it is recorded for ever.")


def ask_for_approval(decision: Decision) -> None:
    """Starts the flow that asks a person, unless a run of it is open that was started about this decision.

    Whoever asks at the same time gets the same run: each attempt has a key, and a next one begins only when the run
    of the one before has ended, as where its time was over.
    """
    command = f'`bcd model approve {decision.challenger} --by NAME --reason "…"`'
    attempt = 0
    while True:
        try:
            run = run_deployment(
                "approve/approve",
                parameters={"version": decision.challenger},
                idempotency_key=f"approve/{decision.key}/{attempt}",
                timeout=0,
                as_subflow=False,  # a retraining ends; the question may stay open for weeks
            )
        except ObjectNotFound:  # no server, or nothing deployed on it
            say_progress(f"The promotion awaits a person's approval: {command}.")
            return
        if not run.state.is_final():
            say_progress(
                f"The promotion awaits a person's approval: the flow `approve` asks on the dashboard, or {command}."
            )
            return
        attempt += 1


@flow(name="approve", flow_run_name="approve bcd-idc/{version}")
@told_to_prefect
def approve(version: Text) -> str:
    """Asks a person about a promotion that awaits approval, and records the answer.

    Args:
        version: The version that the gate proposes, such as 3.
    """
    settings = load_configuration()
    with open_store(settings) as store:
        waiting = find_awaiting_sign_off(store, version)
        text = "" if waiting is None else describe_gate_page(store, waiting)
    if waiting is None:
        get_run_logger().info("No promotion of version %s awaits approval: it was answered before.", version)
        return "answered before"
    publish_markdown("approval", text, f"What the gate found of version {version}")
    approvers = list_approvers(settings)
    who = f"May answer, as `by`: {', '.join(approvers)}.\n\n" if approvers else ""
    form = Approval.with_initial_data(description=who + text)
    answer = suspend_flow_run(wait_for_input=form, timeout=_DAYS * 24 * 3600)
    with report_to_prefect(), open_store(settings) as store:
        decision = answer_approval(store, version, SignOff(answer.by, answer.reason), answer.verdict)
    publish_markdown("approval-answer", "\n".join(decision.reasons), f"The answer: {decision.verdict}")
    return decision.verdict


if __name__ == "__main__":
    import sys

    approve(sys.argv[1])
