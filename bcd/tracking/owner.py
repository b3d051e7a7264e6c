"""The process that writes a run of MLflow, so that the runs of a killed one are told from those under way."""

from __future__ import annotations

import os
import platform

PROCESS_TAG = "mlflow.bcd.process"
"""Tag of a run: machine, process id, and when that process started."""


def name_run_owner() -> str:
    """Returns what `PROCESS_TAG` says of this process."""
    import psutil

    return f"{platform.node()} {os.getpid()} {psutil.Process().create_time():.2f}"


def run_owner_has_ended(tag: str) -> bool:
    """Whether the process that a tag names was on this machine and is gone; nobody can tell of another machine's."""
    import psutil

    machine, _, known = tag.partition(" ")
    if machine != platform.node() or not known:
        return False
    process, started = known.split()
    try:
        found = psutil.Process(int(process))
        # A process id may have been given to somebody else since.
        return bool(abs(found.create_time() - float(started)) >= 1 or found.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
