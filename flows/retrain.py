"""Retrain: snapshot and plan, search, train, evaluate, gate; each stage is found done or done.

Examples:
        python flows/retrain.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow, get_run_logger

from bcd.config import load_configuration
from bcd.evaluation.report.tables import describe_evaluation
from bcd.formats import format_count, format_estimate
from bcd.patches import PERSON
from bcd.progress import say_progress
from bcd.retraining.due import Due, find_due
from bcd.retraining.plan import find_done
from bcd.retraining.stages import Outcome, is_retraining_finished, read_outcome
from bcd.snapshots.freeze import Snapshot
from bcd.store.store import open_store
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import end_killed_mlflow_runs
from bcd.tracking.view import find_run_page, find_view_page
from bcd.training.ensemble import describe_ensemble
from flows.evaluate import evaluate, show_curves
from flows.forms import Ensemble, Gate, Search, Splits, Text, Training
from flows.preprocess import preprocess
from flows.promote import promote, show_gate_checks
from flows.reporting import (
    finish_flow,
    name_flow_run,
    publish_markdown,
    rename_flow_run,
    report_to_prefect,
    told_to_prefect,
)
from flows.search import search as search_flow
from flows.stages import begin_stage_flow
from flows.train import train


@flow(name="retrain", flow_run_name=name_flow_run)
@told_to_prefect
def retrain(
    snapshot: Text = "",
    *,
    when_due: bool = False,
    splits: Splits = None,
    search: Search = None,
    training: Training = None,
    ensemble: Ensemble = None,
    gate: Gate = None,
) -> Outcome | None:
    """Makes a challenger of what is admitted and lets the gate decide; nothing new: ends at once.

    Args:
        snapshot: Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.
        when_due: End at once unless as many new labelled patients have come as [retrain] asks for.
        splits: How patients are split; empty: as bcd.toml says.
        search: How far the study goes; empty: as bcd.toml says.
        training: How networks are trained; empty: as bcd.toml says.
        ensemble: How many networks answer together, in how many turns; empty: as bcd.toml says.
        gate: Margins of the gate; empty: as bcd.toml says.
    """
    with report_to_prefect(), open_store(load_configuration()) as store:
        due = find_due(store, splits)
        if when_due:
            say_progress(due.sentence)
    if when_due and not due.is_due:
        return finish_flow(None, due.sentence)
    end_killed_mlflow_runs(load_configuration())  # of a retraining that died and is not gone on with: patients came
    plan = preprocess(snapshot, splits=splits, search=search, training=training, ensemble=ensemble, gate=gate)
    with report_to_prefect():
        settings, retraining = begin_stage_flow(plan)
        new = due.new_patients and not snapshot
        of = _count_new(due) if new else _count_patients(retraining.snapshot)
        rename_flow_run(f"retrain {retraining.snapshot.id[:4]}: {of}")
        if is_retraining_finished(settings, retraining):
            outcome = read_outcome(settings, retraining)
            sentence = f"Nothing new: {_tell_outcome(outcome)}"
            say_progress(sentence)
            return finish_flow(outcome, sentence)
    log = get_run_logger()
    log.info(
        "Plan %s: snapshot %s under protocol %s.", plan, retraining.snapshot.id[:8], retraining.snapshot.protocol
    )
    log.info("Search: %s", search_flow(plan).note)
    trained = train(plan)
    log.info("Trained: %s.", describe_ensemble(trained.architecture, trained.options))
    log.info("Evaluated and registered: %s/%s.", MODEL, evaluate(plan))
    verdict = promote(plan)
    log.info("The gate: %s. %s", verdict.verdict, " ".join(verdict.reasons))
    outcome = read_outcome(settings, retraining)
    page = find_run_page(settings, find_done(settings, retraining)[0] or "")
    others = find_view_page(settings, "retrainings-compared")
    link = (
        f"[its run in MLflow]({page}), [beside the others]({others})"
        if page
        else "Its run in MLflow has a page while `bcd up` runs."
    )
    parts = [
        _tell_outcome(outcome),
        " ".join([f"**{verdict.verdict}.**", *verdict.reasons]),
        _tabulate_outcome(outcome),
        show_gate_checks(verdict, f"{verdict.title}, check by check"),
        show_curves(outcome.evaluated),
        link,
    ]
    publish_markdown("retraining", "\n\n".join(filter(None, parts)), f"Retraining {plan}")
    return finish_flow(outcome, _tell_outcome(outcome))


def _tell_outcome(outcome: Outcome) -> str:
    snapshot, verdict = outcome.snapshot, outcome.verdict
    return (
        f"snapshot {snapshot.id[:8]}, {_count_patients(snapshot)}:"
        f" the gate decided {verdict.verdict} on {MODEL}/{verdict.challenger}."
    )


def _count_patients(snapshot: Snapshot) -> str:
    patients = len(snapshot.patches.drop_duplicates(PERSON))
    hospitals = snapshot.patches["hospital"].nunique()
    return f"{format_count(patients, 'patient')} of {format_count(hospitals, 'hospital')}"


def _count_new(due: Due) -> str:
    return f"{format_count(due.new_patients, 'new patient')} of {format_count(due.hospitals, 'hospital')}"


def _tabulate_outcome(outcome: Outcome) -> str:
    test = outcome.evaluated.evaluations.get("test")
    rows = {
        "search": outcome.study.note,
        "training": describe_ensemble(outcome.trained.architecture, outcome.trained.options),
        "test patients": f"AUROC {format_estimate(test.pooled['auroc'])}. {describe_evaluation(test)}"
        if test
        else "none",
    }
    return "\n".join(["| stage | what came of it |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows.items())])


if __name__ == "__main__":
    retrain()
