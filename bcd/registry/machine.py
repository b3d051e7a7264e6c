"""What a training runs on: the device as tags of its run, and the machine's load as MLflow's system metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from bcd.registry.run import Run


def machine_tags(precision: str) -> dict[str, str]:
    """Returns the device, the Keras backend and the precision that a training of this process computes with.

    Args:
        precision: As in `TrainOptions`; `auto` is resolved for the device.
    """
    from bcd.networks.backend import has_gpu, keras, use_precision

    devices = keras.distribution.list_devices()
    with use_precision(precision):
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
