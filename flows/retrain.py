"""Retrain: snapshot and plan, search, train, evaluate, gate; each stage is found done or done.

Examples:
        python flows/retrain.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_alone

    begin_alone()

from prefect import flow

from bcd.config import load_configuration
from bcd.progress import say
from bcd.retraining.due import find_due
from bcd.retraining.stages import Outcome, is_finished, read_outcome
from bcd.store.store import open_store
from bcd.tracking.lookup import MODEL
from flows.evaluate import evaluate
from flows.forms import Ensemble, Gate, Search, Splits, Text, Training
from flows.preprocess import preprocess
from flows.promote import promote
from flows.reporting import count_of, finish, reporting, run_name, told
from flows.search import search as search_flow
from flows.stages import begin
from flows.train import train


@flow(name="retrain", flow_run_name=run_name)
@told
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
    if when_due:
        with reporting(), open_store(load_configuration()) as store:
            due = find_due(store, splits)
            say(due.sentence)
        if not due.is_due:
            return finish(None, due.sentence)
    plan = preprocess(snapshot, splits=splits, search=search, training=training, ensemble=ensemble, gate=gate)
    with reporting():
        settings, retraining = begin(plan)
        if is_finished(settings, retraining):
            outcome = read_outcome(settings, retraining)
            sentence = f"Nothing new: {_tell(outcome)}"
            say(sentence)
            return finish(outcome, sentence)
    search_flow(plan)
    train(plan)
    evaluate(plan)
    promote(plan)
    outcome = read_outcome(settings, retraining)
    return finish(outcome, _tell(outcome))


def _tell(outcome: Outcome) -> str:
    snapshot, verdict = outcome.snapshot, outcome.verdict
    patients = len(snapshot.patches.drop_duplicates(["hospital", "patient"]))
    hospitals = snapshot.patches["hospital"].nunique()
    return (
        f"snapshot {snapshot.id[:8]}, {patients:,} patients of {count_of(hospitals, 'hospital')}:"
        f" the gate decided {verdict.verdict} on {MODEL}/{verdict.challenger}."
    )


if __name__ == "__main__":
    retrain()
