"""The process that writes a run of MLflow, so that the runs of a killed one are told from those under way."""

from __future__ import annotations

import os
import platform

from bcd.runtime import tell_process_start

PROCESS_TAG = "mlflow.bcd.process"
"""Tag of a run: machine, process id, and when that process started."""


def name_run_owner() -> str:
    """Returns what `PROCESS_TAG` says of this process."""
    return f"{platform.node()} {os.getpid()} {tell_process_start(os.getpid())}"


def run_owner_has_ended(tag: str) -> bool:
    """Whether the process that a tag names was on this machine and is gone; nobody can tell of another machine's."""
    machine, _, known = tag.partition(" ")
    if machine != platform.node() or not known:
        return False
    process, started = known.split()
    return tell_process_start(int(process)) != started  # its number may have been given to somebody else since
