"""Ends a run that takes longer than `[timeouts]` allows, so that none that hangs keeps its slot for ever.

It counts for what a worker runs, not for a command at which somebody sits. The run is interrupted and fails with a
sentence. Where nothing can interrupt it, as within a library that never comes back, the process ends half an hour
later: its log then holds the place where each thread was, and the worker tells that the run crashed.
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prefect import runtime
from prefect.utilities.timeout import timeout

from bcd.errors import BcdError
from bcd.settings import load_settings
from bcd.timeouts import TimeoutOptions

_GRACE_SECONDS = 1800.0
_is_limited: ContextVar[bool] = ContextVar("is limited", default=False)
"""Whether a flow that called this one has its own limit."""


@contextmanager
def limit_time() -> Iterator[None]:
    """Interrupts the block when the time of its run is over.

    Raises:
        BcdError: It was over.
    """
    flow = str(runtime.flow_run.flow_name)
    if not runtime.deployment.id or _is_limited.get() or flow not in TimeoutOptions.model_fields:
        yield
        return
    hours = getattr(load_settings().options("timeouts", TimeoutOptions), flow)
    faulthandler.dump_traceback_later(hours * 3600 + _GRACE_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr)
    limited = _is_limited.set(True)
    try:
        with timeout(hours * 3600, timeout_exc_type=_TimeIsOverError):
            yield
    except _TimeIsOverError as error:
        raise BcdError(
            f"The run of {flow} did not end within {hours:g} hours and was ended.",
            f"Its log says what it did last, and the next run goes on. `{flow}` under [timeouts] allows more.",
        ) from error
    finally:
        _is_limited.reset(limited)
        faulthandler.cancel_dump_traceback_later()


class _TimeIsOverError(TimeoutError):
    """Told from a timeout of the work itself, as of a connection."""
