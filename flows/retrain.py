"""Retrain: snapshot, search, train, evaluate, gate; each stage is found done or done.

Example:
    python flows/retrain.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow

from flows.evaluate import evaluate
from flows.preprocess import preprocess
from flows.promote import Gate, promote
from flows.reporting import reporting
from flows.search import search as search_flow
from flows.stages import Search, SnapshotName, Splits, Training, begin
from flows.train import train

if TYPE_CHECKING:
    from bcd.registry.retraining import Outcome


@flow(name="retrain")
def retrain(
    snapshot: SnapshotName = "",
    splits: Splits = None,
    search: Search = None,
    training: Training = None,
    gate: Gate = None,
) -> Outcome:
    """Makes a challenger of what is admitted and lets the gate decide; nothing new: ends at once."""
    from bcd.registry.retraining import read_outcome

    frozen = preprocess(snapshot, splits)
    search_flow(frozen, search, training)
    train(frozen, search, training)
    evaluate(frozen, search, training)
    promote(frozen, search, training, gate)
    with reporting():
        return read_outcome(*begin(frozen, search=search, training=training))


if __name__ == "__main__":
    retrain()
