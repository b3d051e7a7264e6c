"""The space that a study searches: the shape of the network, its dropout, and the optimiser's two rates.

Rates are searched as factors of the training's own, so `DEFAULT` is what would be trained without a search,
whatever that is.
"""

from __future__ import annotations

from typing import Any

from bcd.networks.architecture import Architecture, Head, Stage, Stem
from bcd.training.options import TrainOptions

DEFAULT: dict[str, Any] = {
    "stem_filters": 32,
    "stem_kernel": 5,
    "stages": 3,
    "filters": 32,
    "growth": 2.0,
    "depth_1": 2,
    "depth_2": 2,
    "depth_3": 2,
    "order": "conv-norm-relu",
    "stage_dropout": 0.1,
    "head_dense": 0,
    "head_dropout": 0.2,
    "learning_rate_factor": 1.0,
    "weight_decay_factor": 1.0,
}
"""The point of the space that is `compact` with the training options as given: trial 0 of every study."""


def propose(trial: Any, training: TrainOptions) -> tuple[Architecture, TrainOptions]:
    """Asks an optuna.Trial for an architecture and training options."""
    stem = Stem(
        filters=trial.suggest_int("stem_filters", 16, 48, step=8),
        kernel=trial.suggest_categorical("stem_kernel", [3, 5, 7]),
        stride=2,
    )
    number = trial.suggest_int("stages", 2, 3)
    filters = trial.suggest_int("filters", 16, 48, step=8)
    growth = trial.suggest_categorical("growth", [1.5, 2.0])
    dropout = round(trial.suggest_float("stage_dropout", 0.0, 0.3, step=0.05), 2)
    stages = [
        Stage(
            filters=round(filters * growth**index),
            depth=trial.suggest_int(f"depth_{index + 1}", 1, 3),
            dropout=dropout if index else 0.0,
        )
        for index in range(number)
    ]
    head = Head(
        dense=trial.suggest_categorical("head_dense", [0, 64, 128]),
        dropout=round(trial.suggest_float("head_dropout", 0.0, 0.5, step=0.1), 2),
    )
    order = trial.suggest_categorical("order", ["conv-norm-relu", "conv-relu-norm"])
    rate = trial.suggest_float("learning_rate_factor", 0.3, 3.0, log=True)
    decay = trial.suggest_float("weight_decay_factor", 0.1, 10.0, log=True)
    options = training.model_copy(
        update={
            "learning_rate": min(training.learning_rate * rate, 1.0),
            "weight_decay": min(training.weight_decay * decay, 1.0),
        }
    )
    return Architecture(stem=stem, stages=stages, order=order, head=head), options
