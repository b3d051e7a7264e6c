"""Train: an architecture that is named, or the one that the search chose, or `compact` where there was no search.

Example:
    python flows/train.py
"""

from __future__ import annotations

from prefect import flow

from bcd.networks.architecture import Architecture
from bcd.registry.retraining import train_candidate
from bcd.training.ensemble import TrainedEnsemble
from flows.forms import Ensemble, Search, Text, Training
from flows.reporting import reporting, run_name, told
from flows.stages import begin


@flow(name="train", flow_run_name=run_name)
@told
def train(
    snapshot: Text = "",
    search: Search = None,
    training: Training = None,
    ensemble: Ensemble = None,
    architecture: Architecture | None = None,
) -> TrainedEnsemble:
    """Trains a network, or an ensemble, on train patients; val patients choose the epoch.

    Args:
        snapshot: Id of the snapshot, or its beginning; empty: all that is admitted, frozen now.
        search: How far the study goes; empty: as bcd.toml says.
        training: How networks are trained; empty: as bcd.toml says.
        ensemble: How many networks answer together, in how many views; empty: as bcd.toml says.
        architecture: What to train; empty: what a search with the same options chose, or `compact`.
    """
    with reporting():
        settings, retraining = begin(
            snapshot, search=search, training=training, ensemble=ensemble, architecture=architecture
        )
        return train_candidate(settings, retraining)


if __name__ == "__main__":
    train()
