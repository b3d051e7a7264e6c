"""Reconcile: go on with what processes left undone that were killed after the gate had decided.

Aliases move as the last decision says, runs of MLflow without a process end as killed, `promote` goes on where it
stopped, and a person is asked about a promotion about which no question is open. Catalog and registry say what there
is to do, whatever event was lost; what is done is found done. `bcd up` looks each quarter of an hour and starts this
flow where there is something.

Examples:
        python flows/reconcile.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow

from bcd.config import load_configuration
from bcd.formats import format_count
from bcd.retraining.reconcile import carry_out_last_decision, find_unfinished, finish_decided_runs
from bcd.store.store import open_store
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import end_killed_mlflow_runs
from flows.approve import ask_for_approval
from flows.promote import promote
from flows.reporting import finish_flow, name_flow_run, report_to_prefect, told_to_prefect


@flow(name="reconcile", flow_run_name=name_flow_run)
@told_to_prefect
def reconcile() -> list[str]:
    """Goes on with what killed processes left undone after the gate had decided; returns what it did."""
    settings = load_configuration()
    done = []
    with report_to_prefect(), open_store(settings) as store:
        if killed := end_killed_mlflow_runs(settings):
            done.append(f"Ended {format_count(killed, 'run')} of MLflow without a process.")
        if finished := finish_decided_runs(store):
            done.append(f"Runs of the gate in MLflow that had decided, marked as finished: {finished}.")
        if decision := carry_out_last_decision(store):
            done.append(f"Moved the aliases of the decision on {MODEL}/{decision.challenger}: {decision.verdict}.")
        if plan := find_unfinished(store).plan:
            verdict = promote(plan)
            done.append(f"Went on with what follows the decision on {MODEL}/{verdict.challenger}: {verdict.verdict}.")
        for waiting in find_unfinished(store).awaiting:
            ask_for_approval(waiting)
            done.append(f"{MODEL}/{waiting.challenger} awaits a person's approval.")
    return finish_flow(done, " ".join(done) or "Nothing is left undone.")


if __name__ == "__main__":
    reconcile()
