"""A worker: a process that does one trial, or one refit, and ends, so that its memory and its device go with it.

It is told its job on its input, as JSON, and lives no longer than that stays open: whoever started it may be killed.

Examples:
        python -m bcd.search.worker < job.json
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress

from bcd.errors import BcdError
from bcd.progress import show_progress
from bcd.search.job import Job
from bcd.search.relay import PipeSink

USER_ERROR = 2
"""Exit code where the last event says what the user can fix."""


def do_next_trial(job: Job) -> None:
    """Does the next trial of a study, or the next of its refits."""
    from bcd.search.refit import run_refit
    from bcd.search.storage import quiet_optuna
    from bcd.search.trial import run_trial

    with quiet_optuna():
        if job.part == "refits":
            run_refit(job)
        else:
            run_trial(job)


def run_search_worker() -> int:
    """Does the job that the input tells, and returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it, who ends it
    # Libraries print; the output is for events alone.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    job = Job.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_starter, daemon=True).start()
    _enter_worker(job)
    sink = PipeSink(events)
    try:
        with show_progress(sink):
            do_next_trial(job)
    except BcdError as error:
        sink.send(error=[error.what, error.fix])
        return USER_ERROR
    return 0


def _enter_worker(job: Job) -> None:
    from bcd.runtime import enter_runtime

    # Several workers may share a device: none takes all of its memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    enter_runtime(job.load_settings())


def _end_with_starter() -> None:
    with suppress(OSError):
        sys.stdin.read()
    os._exit(1)  # at once, as a kill would: the last finished epoch is written


if __name__ == "__main__":
    code = run_search_worker()
    sys.stdout.flush()
    os._exit(code)  # nothing of value is left to be torn down, and TensorFlow takes its time
