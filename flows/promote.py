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

from bcd.gate.followed import FOLLOWED, PROMOTE_LOCK, TOLD, is_marked, mark
from bcd.gate.plot import draw_gate_checks
from bcd.gate.recheck import recheck_champion
from bcd.gate.rule import Verdict
from bcd.gate.shadow import find_gate_decision
from bcd.retraining.plan import Retraining
from bcd.retraining.stages import gate_stage
from bcd.store.decisions import Decision
from bcd.store.store import open_store
from bcd.tracking.lookup import MODEL
from flows.approve import ask_for_approval
from flows.forms import Text
from flows.reporting import (
    embed_picture,
    name_flow_run,
    publish_markdown,
    report_to_prefect,
    tell_once,
    told_to_prefect,
)
from flows.stages import begin_stage_flow


@flow(name="promote", flow_run_name=name_flow_run)
@told_to_prefect
def promote(plan: Text = "") -> Verdict:
    """Promotes, holds or rejects the bundle of a retraining, and says why.

    Of a plan that was decided on, what a killed run left undone is done: `reconcile` starts it for that.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
    """
    with report_to_prefect():
        settings, retraining = begin_stage_flow(plan)
        with open_store(settings) as store, store.lock(PROMOTE_LOCK):  # what lives is not taken for what was killed
            verdict = gate_stage(settings, retraining)
            decision = find_gate_decision(store, verdict.challenger)
            assert decision is not None
            _publish_verdict("gate", verdict, f"The gate: {verdict.verdict}")
            if not is_marked(settings, decision, TOLD):
                _tell_verdict(decision, retraining)
                mark(settings, decision, TOLD)
            if verdict.awaits_approval:
                ask_for_approval(decision)
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
            mark(settings, decision, FOLLOWED)
    return verdict


def _tell_verdict(decision: Decision, retraining: Retraining) -> None:
    sentence = (
        f"{decision.verdict} of {MODEL}/{decision.challenger}, trained on snapshot {retraining.snapshot.id[:8]}."
        f" {' '.join(decision.reasons)}"
    )
    about = f"{decision.key}/{decision.decided_at.isoformat()}"
    tell_once(about, "bcd.verdict", f"bcd.bundle.{decision.challenger}", sentence)


def _publish_verdict(key: str, verdict: Verdict, description: str) -> None:
    publish_markdown(key, verdict.markdown(), description)
    if picture := show_gate_checks(verdict, description):
        publish_markdown(f"{key}-plot", picture, description)


def show_gate_checks(verdict: Verdict, description: str) -> str:
    """Returns Markdown that shows the gate's checks one by one; empty: there were none."""
    with TemporaryDirectory() as folder:
        picture = draw_gate_checks(verdict, Path(folder) / "gate.png")
        return embed_picture(picture, description) if picture else ""


if __name__ == "__main__":
    promote()
