"""What a training leaves in its run: every member's curves, best epoch and network.

The first member's figures have a single network's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.networks.keras_files import load_network
from bcd.patches import PATCH_PIXELS
from bcd.registry.run import Run

if TYPE_CHECKING:
    from bcd.training.ensemble import OnMemberEpoch, TrainedEnsemble


def log_epochs_to(run: Run) -> OnMemberEpoch:
    """Returns what logs an epoch of a member as it ends."""
    return partial(_log_epoch, run)


def log_trained(run: Run, trained: TrainedEnsemble) -> None:
    """Logs the curves whole, also where a kill fell between an epoch and its logging, and what was kept of them."""
    for number, member in enumerate(trained.members, 1):
        run.log_history([_name_figures(number, row) for row in member.history])
        best = {"best_epoch": float(member.best_epoch), "best_val_score": member.val_score}
        run.log_metrics(_name_figures(number, best))
    run.log_metrics({"parameters": trained.parameters})


def log_networks(run: Run, trained: TrainedEnsemble) -> None:
    """Logs every network as a Keras model with its signature, unless this run has it: for whoever wants it plain.

    It takes prepared patches and gives logits: what decides about raw patches is the bundle.
    """
    for number, path in enumerate(trained.paths, 1):
        name = _name("network", number)
        if not run.has_model(name):
            _log_network(run, name, path)


def _log_network(run: Run, name: str, path: Path) -> None:
    import mlflow.keras
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from bcd.registry.versions import package_versions

    patches = TensorSpec(np.dtype(np.uint8), (-1, PATCH_PIXELS, PATCH_PIXELS, 3), name="patches")
    logit = TensorSpec(np.dtype(np.float32), (-1, 1), name="logit")
    with run.logged_model(name) as model_id:
        mlflow.keras.log_model(
            load_network(path),
            name=name,
            model_id=model_id,
            signature=ModelSignature(Schema([patches]), Schema([logit])),
            pip_requirements=[f"keras=={package_versions()['keras']}"],
        )


def _log_epoch(run: Run, member: int, epoch: int, row: Mapping[str, float]) -> None:
    run.log_metrics(_name_figures(member, row), step=epoch)


def _name_figures(member: int, figures: Mapping[str, float]) -> dict[str, float]:
    return {_name(name, member): value for name, value in figures.items()}


def _name(what: str, member: int) -> str:
    return what if member == 1 else f"member{member}_{what}"
