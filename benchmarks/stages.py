"""Where an admission's time goes: the own time of its functions, taken while it runs with all its threads.

Each function of a stage is wrapped in a timer; time spent in wrapped functions that it calls is theirs. Two clocks
are read: the processor time of the thread, and the time of day, whose excess is waiting (for the interpreter's lock,
for the disk, for a core). What a timer itself takes is measured and subtracted; speeds come from runs without any.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

TIMERS = "the timers of this table"
"""The stage that what the timers take is booked under."""

TRIALS = 20_000


class Spent(NamedTuple):
    """Seconds of one stage, over all threads."""

    processor: float
    waiting: float


@dataclass
class _Account:
    """What a stage spent in one thread, and how often it was entered and called others."""

    processor: float = 0.0
    waiting: float = 0.0
    calls: int = 0
    inner_calls: int = 0


@dataclass
class _Thread:
    """The accounts of one thread, and what the calls under way have spent in others so far."""

    accounts: dict[str, _Account] = field(default_factory=lambda: defaultdict(_Account))
    under_way: list[_Account] = field(default_factory=list)


class Stages:
    """Timers around functions."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._threads: list[_Thread] = []
        self._order: list[str] = []

    def wrap(self, owner: Any, name: str, stage: str) -> None:
        """Wraps a function of a module, or a method or property of a class."""
        function = vars(owner)[name]
        self._order += [stage] if stage not in self._order else []
        if isinstance(function, property) and function.fget is not None:
            setattr(owner, name, property(self._timed(function.fget, stage)))
        else:
            setattr(owner, name, self._timed(function, stage))

    def start_over(self) -> None:
        """Forgets what was spent so far, in threads that are not at work."""
        for thread in self._threads:
            thread.accounts.clear()

    def totals(self) -> dict[str, Spent]:
        """Adds up what all threads spent, in the order of wrapping, and what the timers themselves took."""
        inside, outside = _cost()
        totals = {}
        taken = 0.0
        for stage in self._order:
            accounts = [thread.accounts[stage] for thread in self._threads]
            timers = sum(one.calls * inside + one.inner_calls * outside for one in accounts)
            processor, waiting = (sum(getattr(one, clock) for one in accounts) for clock in ("processor", "waiting"))
            totals[stage] = Spent(processor - timers, waiting)
            taken += timers
        return {**totals, TIMERS: Spent(taken, 0.0)}

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            thread = self._of_thread()
            inner = _Account()
            thread.under_way.append(inner)
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                processor = time.thread_time() - processor
                waiting = time.perf_counter() - wall - processor
                thread.under_way.pop()
                account = thread.accounts[stage]
                account.processor += processor - inner.processor
                account.waiting += max(waiting - inner.waiting, 0.0)
                account.calls += 1
                account.inner_calls += inner.calls
                if thread.under_way:
                    caller = thread.under_way[-1]
                    caller.processor += processor
                    caller.waiting += waiting
                    caller.calls += 1

        return run

    def _of_thread(self) -> _Thread:
        if not hasattr(self._local, "thread"):
            self._local.thread = _Thread()
            self._threads.append(self._local.thread)
        return cast("_Thread", self._local.thread)


def _cost() -> tuple[float, float]:
    """Measures the processor time that a timer takes between its own readings of the clock, and around them."""
    trial = Stages()
    nothing = trial._timed(lambda: None, "nothing")
    nothing()
    trial.start_over()
    started = time.thread_time()
    for _ in range(TRIALS):
        nothing()
    spent = time.thread_time() - started
    inside = trial._of_thread().accounts["nothing"].processor
    return inside / TRIALS, (spent - inside) / TRIALS


def time_admission(stages: Stages) -> None:
    """Wraps the functions of an admission; the order is the table's."""
    from bcd import files
    from bcd.admission import admit, examine, findings, settle
    from bcd.admission.sources import folders, zips
    from bcd.store import batches, spool

    for owner, names, stage in (
        (zips.ZipSource, "__init__", "listing the delivery"),
        (folders.FolderSource, "__init__", "listing the delivery"),
        (admit, "plan_admission", "names and places"),
        (examine._Kept, "append as_frame", "gathering columns"),
        (examine, "_take", "gathering columns"),
        (admit, "examine_files", "handing out, waiting for threads"),
        (zips.ZipSource, "read", "reading, checksums"),
        (folders.FolderSource, "read", "reading, checksums"),
        (examine, "_read", "hashing files"),
        (examine, "check_bytes", "rules of a PNG's structure"),
        (examine, "decode_patch", "decoding"),
        (examine, "look_at_pixels find_blank flag_delivered_pixels", "looking at pixels"),
        (examine, "_look_at_decoded", "hashing pixels"),
        (examine, "_look_at_patches", "the loop over files"),
        (spool.Spool, "append finish", "writing pixels"),
        (settle.Draft, "identity", "the delivery's hash"),
        (settle, "find_stored_delivery refuse_withdrawn refuse_known known_slides", "earlier deliveries"),
        (settle, "refuse_duplicates", "duplicates within"),
        (findings.Findings, "standing refusals", "duplicates within"),
        (settle, "make_batch_index measure_delivered_stains count_delivered_flags", "index"),
        (batches, "_hash_parts", "the batch's hash"),
        (batches, "_write_index", "index.parquet"),
        (files, "flush_file", "flushing to disk"),
        (settle, "record_delivery", "catalog"),
        (settle, "keep_refused", "quarantine"),
        (admit, "settle admit", "everything else"),
    ):
        for name in names.split():
            stages.wrap(owner, name, stage)
