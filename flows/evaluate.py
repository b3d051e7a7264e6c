"""Evaluate: fit the policy on val patients, evaluate what was trained on test patients, register the bundle.

Examples:
        python flows/evaluate.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_alone

    begin_alone()

from prefect import flow

from bcd.retraining.stages import evaluate_candidate, register_candidate, train_candidate
from bcd.training.ensemble import find_ensemble
from flows.forms import Text
from flows.reporting import publish_markdown, reporting, run_name, told
from flows.stages import begin


@flow(name="evaluate", flow_run_name=run_name)
@told
def evaluate(plan: Text = "") -> str:
    """Evaluates what was trained by patient and registers it with its policy; returns the version.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
    """
    from bcd.evaluation.report.sections import tables_of
    from bcd.evaluation.report.tables import headline_table, threshold_rows

    with reporting():
        settings, retraining = begin(plan)
        found = find_ensemble(retraining.network(settings), retraining.plan.ensemble)
        trained = found or train_candidate(settings, retraining)
        evaluated = evaluate_candidate(settings, retraining, trained)
        bundle = register_candidate(settings, retraining, trained, evaluated)
    test = evaluated.evaluations.get("test")
    if test:
        tables = {"Metrics": headline_table(test), "Thresholds": threshold_rows(test), **tables_of(test)}
        text = "\n\n".join(f"## {title}\n\n{table.markdown()}" for title, table in tables.items())
        publish_markdown("evaluation", text, f"{bundle.name} on the test patients. Research use only.")
    return bundle.version


if __name__ == "__main__":
    evaluate()
