"""Train: what the search of a plan chose, the architecture that the plan names, or `compact`.

Examples:
        python flows/train.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_alone

    begin_alone()

from prefect import flow

from bcd.retraining.stages import train_candidate
from bcd.training.ensemble import TrainedEnsemble
from flows.forms import Text
from flows.reporting import reporting, run_name, told
from flows.stages import begin


@flow(name="train", flow_run_name=run_name)
@told
def train(plan: Text = "") -> TrainedEnsemble:
    """Trains a network, or an ensemble, on train patients; val patients choose the epoch.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
    """
    with reporting():
        return train_candidate(*begin(plan))


if __name__ == "__main__":
    train()
