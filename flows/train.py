"""Train: what the search of a plan chose, the architecture that the plan names, or `compact`.

Examples:
        python flows/train.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import flow

from bcd.formats import NOT_AVAILABLE
from bcd.retraining.plan import Retraining
from bcd.retraining.stages import train_stage
from bcd.settings import Settings
from bcd.training.ensemble import TrainedEnsemble, describe_ensemble
from bcd.training.fit import TrainedNetwork
from bcd.training.plot import draw_training
from flows.elsewhere import train_elsewhere
from flows.forms import Text
from flows.limits import TRAINING, hold_slot
from flows.reporting import embed_picture, name_flow_run, publish_markdown, report_to_prefect, told_to_prefect
from flows.stages import begin_stage_flow


@flow(name="train", flow_run_name=name_flow_run)
@told_to_prefect
def train(plan: Text = "") -> TrainedEnsemble:
    """Trains a network, or an ensemble, on train patients; val patients choose the epoch.

    Args:
        plan: Id of the plan, or its beginning; empty: the plan that was written last.
    """
    with report_to_prefect():
        settings, retraining = begin_stage_flow(plan)
        trained = train_plan(settings, retraining)
        what = describe_ensemble(trained.architecture, trained.options)
        publish_training(trained.members, f"{what}, trained on snapshot {retraining.snapshot.id[:8]}")
        return trained


def train_plan(settings: Settings, retraining: Retraining) -> TrainedEnsemble:
    """Trains here, or on the work pool of `[search]` where several networks are to be trained."""
    has_pool = retraining.plan.search.pool and retraining.plan.ensemble.members > 1
    with hold_slot(TRAINING):
        return train_stage(settings, retraining, train_elsewhere if has_pool else None)


def publish_training(networks: Sequence[TrainedNetwork], what: str) -> None:
    """Leaves the curves of networks at the flow run, with a row for each."""
    rows = [
        f"| {number} | {len(each.history)} | {each.best_epoch} | {_format_score(each)} | {each.parameters:,}"
        f" | {sum(row['seconds'] for row in each.history) / 60:.1f} |"
        for number, each in enumerate(networks, 1)
    ]
    head = "| network | epochs | kept | its val score | parameters | minutes |\n| --- |" + " ---: |" * 5
    with TemporaryDirectory() as folder:
        picture = embed_picture(
            draw_training(networks, Path(folder) / "training.png", note=what), f"Curves of {what}"
        )
    publish_markdown("training", "\n".join([head, *rows, "", picture]), what)


def _format_score(network: TrainedNetwork) -> str:
    score = network.history[network.best_epoch - 1].get("val_score")
    return NOT_AVAILABLE if score is None else f"{score:.3f}"


if __name__ == "__main__":
    train()
