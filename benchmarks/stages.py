"""Where an admission's time goes: the own time of its functions, taken while it runs with all its threads.

Each function of a stage is wrapped in a timer; time spent in wrapped functions that it calls is theirs. Two clocks
are read: the processor time of the thread, and the time of day, whose excess is waiting (for the interpreter's lock,
for the disk, for a core). The timers themselves cost a few µs a patch, so speeds are taken from runs without them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Spent(NamedTuple):
    """Seconds of one stage, over all threads."""

    processor: float
    waiting: float


class Stages:
    """Timers around functions."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._threads: list[dict[str, list[float]]] = []
        self._order: list[str] = []

    def wrap(self, owner: Any, name: str, stage: str) -> None:
        """Wraps a function of a module, or a method or property of a class."""
        function = vars(owner)[name]
        self._order += [stage] if stage not in self._order else []
        if isinstance(function, property):
            setattr(owner, name, property(self._timed(function.fget, stage)))
        else:
            setattr(owner, name, self._timed(function, stage))

    def start_over(self) -> None:
        """Forgets what was spent so far, in threads that are not at work."""
        for thread in self._threads:
            thread.clear()

    def totals(self) -> dict[str, Spent]:
        """Adds up what all threads spent, in the order of wrapping."""
        return {
            stage: Spent(*(sum(thread.get(stage, (0.0, 0.0))[clock] for thread in self._threads) for clock in (0, 1)))
            for stage in self._order
        }

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            calls, spent = self._of_thread()
            inner = [0.0, 0.0]
            calls.append(inner)
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                processor = time.thread_time() - processor
                wall = time.perf_counter() - wall
                calls.pop()
                total = spent.setdefault(stage, [0.0, 0.0])
                total[0] += processor - inner[0]
                total[1] += max(wall - processor - inner[1], 0.0)
                if calls:
                    calls[-1][0] += processor
                    calls[-1][1] += wall - processor

        return run

    def _of_thread(self) -> tuple[list[list[float]], dict[str, list[float]]]:
        if not hasattr(self._local, "calls"):
            self._local.calls, self._local.spent = [], {}
            self._threads.append(self._local.spent)
        return self._local.calls, self._local.spent


def time_admission(stages: Stages) -> None:
    """Wraps the functions of an admission; the order is the table's."""
    from bcd import files
    from bcd.admission import admit, examine, findings, settle
    from bcd.admission.sources import folders, zips
    from bcd.store import batches, spool

    for owner, names, stage in (
        (zips.ZipSource, "__init__", "listing the delivery"),
        (folders.FolderSource, "__init__", "listing the delivery"),
        (admit, "check_delivery", "listing the delivery"),
        (admit, "plan_admission", "names and places"),
        (examine._Kept, "append as_frame", "gathering columns"),
        (examine, "_take", "gathering columns"),
        (admit, "examine_files", "handing out, waiting for threads"),
        (zips.ZipSource, "read", "reading, checksums"),
        (folders.FolderSource, "read", "reading, checksums"),
        (examine, "_read", "hashing files"),
        (examine, "check_bytes", "rules of a PNG's structure"),
        (examine, "decode_patch", "decoding"),
        (examine, "look_at_pixels find_blank raise_flags", "looking at pixels"),
        (examine, "_look_at_decoded", "hashing pixels"),
        (examine, "_look_at_patches", "the loop over files"),
        (spool.Spool, "append finish", "writing pixels"),
        (settle.Draft, "identity", "the delivery's hash"),
        (settle, "find_delivery refuse_withdrawn refuse_known known_slides", "earlier deliveries"),
        (settle, "refuse_duplicates", "duplicates within"),
        (findings.Findings, "standing refusals", "duplicates within"),
        (settle, "make_index measure_stains count_flags", "index"),
        (settle, "batch_id", "the batch's hash"),
        (batches, "batch_id", "the batch's hash"),
        (batches, "_write_index", "index.parquet"),
        (files, "_flush", "flushing to disk"),
        (settle, "record_delivery", "catalog"),
        (settle, "keep_refused", "quarantine"),
        (admit, "settle admit", "everything else"),
    ):
        for name in names.split():
            stages.wrap(owner, name, stage)
