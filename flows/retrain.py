"""Retrain: snapshot and plan, search, train, evaluate, gate; each stage is found done or done.

Examples:
        python flows/retrain.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_alone

    begin_alone()

from prefect import flow

from bcd.progress import say
from bcd.retraining.stages import Outcome, is_finished, read_outcome
from bcd.tracking.lookup import MODEL
from flows.evaluate import evaluate
from flows.forms import Ensemble, Gate, Search, Splits, Text, Training
from flows.preprocess import preprocess
from flows.promote import promote
from flows.reporting import reporting, run_name, told
from flows.search import search as search_flow
from flows.stages import begin
from flows.train import train


@flow(name="retrain", flow_run_name=run_name)
@told
def retrain(
    snapshot: Text = "",
    *,
    splits: Splits = None,
    search: Search = None,
    training: Training = None,
    ensemble: Ensemble = None,
    gate: Gate = None,
) -> Outcome:
    """Makes a challenger of what is admitted and lets the gate decide; nothing new: ends at once.

    Args:
        snapshot: Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.
        splits: How patients are split; empty: as bcd.toml says.
        search: How far the study goes; empty: as bcd.toml says.
        training: How networks are trained; empty: as bcd.toml says.
        ensemble: How many networks answer together, in how many turns; empty: as bcd.toml says.
        gate: Margins of the gate; empty: as bcd.toml says.
    """
    plan = preprocess(snapshot, splits=splits, search=search, training=training, ensemble=ensemble, gate=gate)
    with reporting():
        settings, retraining = begin(plan)
        if is_finished(settings, retraining):
            outcome = read_outcome(settings, retraining)
            say(
                f"Nothing new: snapshot {retraining.snapshot.id[:12]} was retrained with these options before;"
                f" the gate decided {outcome.verdict.verdict} on {MODEL}/{outcome.verdict.challenger}."
            )
            return outcome
    search_flow(plan)
    train(plan)
    evaluate(plan)
    promote(plan)
    return read_outcome(settings, retraining)


if __name__ == "__main__":
    retrain()
