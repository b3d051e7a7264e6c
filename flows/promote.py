"""Promote: the gate compares a registered challenger with the champion on the gate patients, and decides.

The champion is evaluated again where gate or test patients are new. Where a person has to approve (`[gate]
approval`), the flow `approve` is started, which asks on the dashboard.

Examples:
        python flows/promote.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from bcd.gate.plot import draw_gate_checks
from bcd.gate.recheck import recheck_champion
from bcd.gate.rule import Verdict
from bcd.progress import say_progress
from bcd.retraining.stages import gate_stage
from bcd.store.store import open_store
from bcd.tracking.lookup import MODEL
from flows.forms import Text
from flows.reporting import name_flow_run, publish_markdown, publish_picture, report_to_prefect, tell, told_to_prefect
from flows.stages import begin_stage_flow


@flow(name="promote", flow_run_name=name_flow_run)
@told_to_prefect
def promote(plan: Text = "") -> Verdict:
    """Promotes, holds or rejects the bundle of a retraining, and says why.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
    """
    with report_to_prefect():
        settings, retraining = begin_stage_flow(plan)
        verdict = gate_stage(settings, retraining)
        _publish_verdict("gate", verdict, f"The gate: {verdict.verdict}")
        tell(
            "bcd.verdict",
            f"bcd.bundle.{verdict.challenger}",
            f"{verdict.verdict} of {MODEL}/{verdict.challenger}, trained on snapshot {retraining.snapshot.id[:8]}."
            f" {' '.join(verdict.reasons)}",
        )
        if verdict.awaits_approval:
            _ask_for_approval(verdict, f"{retraining.key}/{verdict.challenger}")
        with open_store(settings) as store:
            again = recheck_champion(
                store,
                snapshot=retraining.snapshot,
                options=retraining.plan.gate,
                evaluate=retraining.plan.evaluation,
            )
        if again is not None:
            _publish_verdict(
                "champion-again", again, f"Champion {again.challenger} on the patients of now: {again.verdict}"
            )
    return verdict


def _publish_verdict(key: str, verdict: Verdict, description: str) -> None:
    publish_markdown(key, verdict.markdown(), description)
    with TemporaryDirectory() as folder:
        picture = draw_gate_checks(verdict, Path(folder) / "gate.png")
        if picture is not None:
            publish_picture(f"{key}-plot", picture, description)


def _ask_for_approval(verdict: Verdict, key: str) -> None:
    """Starts the flow that asks a person, once for each decision."""
    command = f'`bcd model approve {verdict.challenger} --by NAME --reason "…"`'
    try:
        run_deployment(
            "approve/approve",
            parameters={"version": verdict.challenger},
            idempotency_key=f"approve/{key}",
            timeout=0,
            as_subflow=False,  # a retraining ends; the question may stay open for weeks
        )
    except ObjectNotFound:  # no server, or nothing deployed on it
        say_progress(f"The promotion awaits a person's approval: {command}.")
    else:
        say_progress(
            f"The promotion awaits a person's approval: the flow `approve` asks on the dashboard, or {command}."
        )


if __name__ == "__main__":
    promote()
