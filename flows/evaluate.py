"""Evaluate: fit the policy on val patients, evaluate what was trained on test patients, register the bundle.

Examples:
        python flows/evaluate.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import flow

from bcd.retraining.evaluate import EvaluatedNetwork
from bcd.retraining.stages import evaluate_stage, find_trained, register_stage
from flows.forms import Text
from flows.reporting import embed_picture, name_flow_run, publish_markdown, report_to_prefect, told_to_prefect
from flows.stages import begin_stage_flow
from flows.train import train_plan


@flow(name="evaluate", flow_run_name=name_flow_run)
@told_to_prefect
def evaluate(plan: Text = "") -> str:
    """Evaluates what was trained by patient and registers it with its policy; returns the version.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
    """
    from bcd.evaluation.report.sections import subgroup_tables
    from bcd.evaluation.report.tables import headline_table, threshold_rows

    with report_to_prefect():
        settings, retraining = begin_stage_flow(plan)
        found = find_trained(settings, retraining)
        trained = found or train_plan(settings, retraining)
        evaluated = evaluate_stage(settings, retraining, trained)
        bundle = register_stage(settings, retraining, trained, evaluated)
    test = evaluated.evaluations.get("test")
    if test:
        tables = {"Metrics": headline_table(test), "Thresholds": threshold_rows(test), **subgroup_tables(test)}
        text = "\n\n".join(f"## {title}\n\n{table.markdown()}" for title, table in tables.items())
        publish_markdown("evaluation", text, f"{bundle.name} on the test patients. Research use only.")
        publish_markdown("evaluation-curves", show_curves(evaluated), f"{bundle.name} on the test patients: curves")
    return bundle.version


def show_curves(evaluated: EvaluatedNetwork) -> str:
    """Returns Markdown that shows the curves of the test patients; empty: there are too few."""
    from bcd.evaluation.report.curves import draw_roc_and_precision
    from bcd.evaluation.report.figures import describe_evaluation_picture

    test = evaluated.evaluations.get("test")
    if test is None:
        return ""
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "curves.png"
        draw_roc_and_precision(evaluated.scores("test"), test, picture)
        return embed_picture(picture, describe_evaluation_picture("curves", test))


if __name__ == "__main__":
    evaluate()
