"""When a task is tried again: where a disk, the network or a database failed, which may have been for a moment.

What is wrong with the delivery, the patient or the configuration is no better half a minute later.

Examples:
        @try_again
        @task(name="cut slide")
"""

from __future__ import annotations

from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.states import State

from bcd.errors import BcdError, UnavailableError

P = ParamSpec("P")
R = TypeVar("R")

RETRIES = 2
_RETRY_SECONDS = [5.0, 30.0]


def try_again(task: Task[P, R]) -> Task[P, R]:
    """Has a task tried again, twice, where it ended by what `is_io_fault` says. It stands above `@task`."""
    return task.with_options(retries=RETRIES, retry_delay_seconds=_RETRY_SECONDS, retry_condition_fn=is_io_fault)


def is_io_fault(_task: object, _run: object, state: State[Any]) -> bool:
    """Whether a task ended because something was not to be had that may be there again; a package will not be."""
    error = state.result(raise_on_failure=False)
    cause = error.__cause__ if isinstance(error, UnavailableError) else None
    return isinstance(cause, Exception) and not isinstance(cause, (ImportError, MemoryError, BcdError))
