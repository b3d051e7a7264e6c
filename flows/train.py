"""Train: what the search of a plan chose, the architecture that the plan names, or `compact`.

Examples:
        python flows/train.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow

from bcd.retraining.plan import Retraining
from bcd.retraining.stages import train_stage
from bcd.settings import Settings
from bcd.training.ensemble import TrainedEnsemble
from flows.elsewhere import train_elsewhere
from flows.forms import Text
from flows.limits import TRAINING, hold_slot
from flows.reporting import name_flow_run, report_to_prefect, told_to_prefect
from flows.stages import begin_stage_flow


@flow(name="train", flow_run_name=name_flow_run)
@told_to_prefect
def train(plan: Text = "") -> TrainedEnsemble:
    """Trains a network, or an ensemble, on train patients; val patients choose the epoch.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
    """
    with report_to_prefect():
        return train_plan(*begin_stage_flow(plan))


def train_plan(settings: Settings, retraining: Retraining) -> TrainedEnsemble:
    """Trains here, or on the work pool of `[search]` where several networks are to be trained."""
    has_pool = retraining.plan.search.pool and retraining.plan.ensemble.members > 1
    with hold_slot(TRAINING):
        return train_stage(settings, retraining, train_elsewhere if has_pool else None)


if __name__ == "__main__":
    train()
