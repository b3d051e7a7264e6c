"""What a training leaves in its run: the first network's curves and every network; below it, what would crowd it.

The curves of an ensemble's further networks and the load of the machine are runs of their own under it.
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
def watch_machine(run: Run, key: str) -> Iterator[None]:
    """Logs processor, memory, disk, network and, with `nvidia-ml-py`, the GPU to a run below, while the block lasts.

    MLflow samples every ten seconds, or as MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL says; a continued run goes on
    counting.

    Args:
        run: The run of the training.
        key: The key of the retraining.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    load = run.open_child(f"machine/{key}", "load of the machine", "machine")
    monitor = SystemMetricsMonitor(load.id, resume_logging=True)  # of a run by its id, whichever is active
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
        load.end()


def log_epochs_to(run: Run, key: str) -> OnMemberEpoch:
    """Returns what logs an epoch of a member as it ends."""
    return partial(_log_epoch, run, key)


def log_trained(run: Run, key: str, trained: TrainedEnsemble) -> None:
    """Logs the curves whole, also where a kill fell between an epoch and its logging, and what was kept of them."""
    for number, member in enumerate(trained.members, 1):
        own = _member_run(run, key, number)
        own.log_history(member.history)
        best = {"best_epoch": float(member.best_epoch)}
        kept = member.history[member.best_epoch - 1]
        best |= {"best_val_score": kept["val_score"]} if "val_score" in kept else {}  # it may have looked at no val
        own.log_metrics(best)
        if number > 1:
            own.end()
    minutes = sum(row["seconds"] for member in trained.members for row in member.history) / 60
    run.log_metrics({"parameters": trained.parameters, "minutes": minutes})


def log_networks(run: Run, trained: TrainedEnsemble) -> None:
    """Logs every network as a Keras model with its signature, unless this run has it: for whoever wants it plain.

    It takes prepared patches and gives logits: what decides about raw patches is the bundle.
    """
    for number, path in enumerate(trained.paths, 1):
        name = "network" if number == 1 else f"member{number}_network"
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


def _log_epoch(run: Run, key: str, member: int, epoch: int, row: Mapping[str, float]) -> None:
    _member_run(run, key, member).log_metrics(row, step=epoch)


def _member_run(run: Run, key: str, member: int) -> Run:
    """Returns the run that has a member's curves: the training's own for the first, else one below it."""
    if member == 1:
        return run
    return run.open_child(f"network/{key}/{member}", f"network {member}", "network")
