"""What a training leaves in its run: the machine's load, and every member's curves, best epoch and network.

The first member's figures have a single network's names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.networks.keras_files import load_network
from bcd.patches import PATCH_PIXELS
from bcd.tracking.run import Run

if TYPE_CHECKING:
    from bcd.training.ensemble import OnMemberEpoch, TrainedEnsemble


def machine_tags(precision: str) -> dict[str, str]:
    """Returns the device, the Keras backend and the precision that a training of this process computes with.

    Args:
        precision: As in `TrainOptions`; `auto` is resolved for the device.
    """
    from bcd.networks.backend import has_gpu, keras, use_keras_precision

    devices = keras.distribution.list_devices()
    with use_keras_precision(precision):
        policy = keras.config.dtype_policy().name
    backend = keras.backend.backend()
    return {
        "bcd.device": ", ".join(devices) if has_gpu() else f"{len(os.sched_getaffinity(0))} CPU cores",
        "bcd.backend": f"{backend} {version(backend)}",
        "bcd.precision": policy,
    }


@contextmanager
def watch_machine(run: Run) -> Iterator[None]:
    """Logs processor, memory, disk, network and, with `nvidia-ml-py`, the GPU to a run while the block lasts.

    MLflow samples every ten seconds, or as MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL says; a continued run goes on
    counting.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run.id, resume_logging=True)  # of a run by its id, whichever is active
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


def log_epochs_to(run: Run) -> OnMemberEpoch:
    """Returns what logs an epoch of a member as it ends."""
    return partial(_log_epoch, run)


def log_trained(run: Run, trained: TrainedEnsemble) -> None:
    """Logs the curves whole, also where a kill fell between an epoch and its logging, and what was kept of them."""
    for number, member in enumerate(trained.members, 1):
        run.log_history([_name_figures(number, row) for row in member.history])
        best = {"best_epoch": float(member.best_epoch)}
        kept = member.history[member.best_epoch - 1]
        best |= {"best_val_score": kept["val_score"]} if "val_score" in kept else {}  # it may have looked at no val
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

    from bcd.versions import package_versions

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
