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
    from flows.alone import begin_alone

    begin_alone()

from prefect import flow
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from bcd.gate.plot import draw_checks
from bcd.gate.recheck import recheck_champion
from bcd.gate.rule import Verdict
from bcd.progress import say
from bcd.retraining.stages import gate_candidate
from bcd.store.store import open_store
from bcd.tracking.lookup import MODEL
from flows.forms import Text
from flows.reporting import publish_markdown, publish_picture, reporting, run_name, tell, told
from flows.stages import begin


@flow(name="promote", flow_run_name=run_name)
@told
def promote(plan: Text = "") -> Verdict:
    """Promotes, holds or rejects the bundle of a retraining, and says why.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
    """
    with reporting():
        settings, retraining = begin(plan)
        verdict = gate_candidate(settings, retraining)
        _publish("gate", verdict, f"The gate: {verdict.verdict}")
        tell(
            "bcd.verdict",
            f"bcd.bundle.{verdict.challenger}",
            f"{verdict.verdict} of {MODEL}/{verdict.challenger}, trained on snapshot {retraining.snapshot.id[:8]}."
            f" {' '.join(verdict.reasons)}",
        )
        if verdict.awaits_approval:
            _ask(verdict, f"{retraining.key}/{verdict.challenger}")
        with open_store(settings) as store:
            again = recheck_champion(
                store,
                snapshot=retraining.snapshot,
                options=retraining.plan.gate,
                evaluate=retraining.plan.evaluation,
            )
        if again is not None:
            _publish("champion-again", again, f"Champion {again.challenger} on the patients of now: {again.verdict}")
    return verdict


def _publish(key: str, verdict: Verdict, description: str) -> None:
    publish_markdown(key, verdict.markdown(), description)
    with TemporaryDirectory() as folder:
        picture = draw_checks(verdict, Path(folder) / "gate.png")
        if picture is not None:
            publish_picture(f"{key}-plot", picture, description)


def _ask(verdict: Verdict, key: str) -> None:
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
        say(f"The promotion awaits a person's approval: {command}.")
    else:
        say(f"The promotion awaits a person's approval: the flow `approve` asks on the dashboard, or {command}.")


if __name__ == "__main__":
    promote()
