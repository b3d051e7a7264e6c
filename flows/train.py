"""Train: the architecture that the search chose, or `compact` where there was no search.

Example:
    python flows/train.py
"""

from __future__ import annotations

from prefect import flow

from bcd.registry.retraining import train_candidate
from bcd.search.options import SearchOptions
from bcd.training.fit import TrainedNetwork
from bcd.training.options import TrainOptions
from flows.reporting import reporting, run_name
from flows.stages import begin


@flow(name="train", flow_run_name=run_name)
def train(
    snapshot: str = "", search: SearchOptions | None = None, training: TrainOptions | None = None
) -> TrainedNetwork:
    """Trains a network on train patients; val patients choose the epoch.

    Args:
        snapshot: Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.
        search: How far the study goes; empty: as bcd.toml says.
        training: How networks are trained; empty: as bcd.toml says.
    """
    with reporting():
        settings, retraining = begin(snapshot, search=search, training=training)
        return train_candidate(settings, retraining)


if __name__ == "__main__":
    train()
