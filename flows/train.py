"""Train: the architecture that the search chose, or `compact` where there was no search.

Example:
    python flows/train.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow

from bcd.registry.retraining import train_candidate
from flows.reporting import reporting
from flows.stages import Search, SnapshotName, Training, begin

if TYPE_CHECKING:
    from bcd.training.fit import TrainedNetwork


@flow(name="train")
def train(snapshot: SnapshotName = "", search: Search = None, training: Training = None) -> TrainedNetwork:
    """Trains a network on train patients; val patients choose the epoch."""
    with reporting():
        settings, retraining = begin(snapshot, search=search, training=training)
        return train_candidate(settings, retraining)


if __name__ == "__main__":
    train()
