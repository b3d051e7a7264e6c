"""An admission in a process of its own, which tells how far it is and can be made to die or fail at any step.

A step is a change of a file or a statement of SQL. Python tells them before they happen, so that a process may be
killed, or a disk be full, before each in turn.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bcd.admission import admit as engine
from bcd.admission import settle as settling
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.store import open_store

PRELOAD = ["bcd.admission.admit", "cv2", "pandas", "psycopg", "pyarrow.compute", "pyarrow.parquet", "pytest"]
"""What the process that the others are forked from imports, so that each starts at once."""

PHASES = ["open", "examine", "settle", "batch", "quarantine", "transaction", "committed", "leave", "done"]
"""The phases of an admission in their order."""


class Marks:
    """How far an admission is, to be seen by another process even after it was killed.

    Attributes:
        moments: For each phase, when it began.
        steps: For each phase, how many steps were taken before it; then how many were taken by now.
    """

    def __init__(self, context: Any) -> None:
        self.moments = context.RawArray("d", len(PHASES))
        self.steps = context.RawArray("i", len(PHASES) + 1)

    def begin(self, phase: str) -> None:
        """Marks that a phase begins."""
        self.steps[PHASES.index(phase)] = self.steps[-1]
        self.moments[PHASES.index(phase)] = time.monotonic()

    def began(self, phase: str) -> float:
        """Returns when a phase began; 0 where it has not."""
        return float(self.moments[PHASES.index(phase)])

    def steps_before(self, phase: str) -> int:
        """Returns how many steps were taken before a phase."""
        return int(self.steps[PHASES.index(phase)])

    @property
    def phase(self) -> str:
        """The phase that began last."""
        return [phase for phase, moment in zip(PHASES, self.moments, strict=True) if moment][-1]


_CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "tempfile.mkstemp", "tempfile.mkdtemp"}

_NEEDS_ROOM = {"open", "os.mkdir", "tempfile.mkstemp", "tempfile.mkdtemp"}


def admit_once(
    settings: Settings, path: Path, marks: Marks, answer: Any, *, die_at: int = 0, fail_at: int = 0, fault: int = 0
) -> None:
    """Admits a delivery of the hospital east.

    Args:
        settings: Where to.
        path: The delivery.
        marks: Takes how far it is.
        answer: Connection that takes what became of it: the outcome's kind and its text.
        die_at: The step before which the process kills itself; 0: none.
        fail_at: The step from which on files cannot be changed; 0: none.
        fault: The errno of that; a full disk still lets files be renamed and removed.
    """

    def take_step(name: str) -> None:
        marks.steps[-1] += 1
        if marks.steps[-1] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        fails = fault == errno.EROFS or name in _NEEDS_ROOM
        if fail_at and marks.steps[-1] >= fail_at and name != "SQL" and fails:
            raise OSError(fault, os.strerror(fault))

    _watch_steps(str(settings.home), take_step)
    _watch_phases(marks)
    marks.begin("open")
    try:
        admission = engine.admit(open_store(settings), path, Hospital("east"))
        answer.send(("admitted", str(admission.already)))
    except Exception as error:  # noqa: BLE001 - the test asserts on it
        answer.send((type(error).__name__, str(error)))
    marks.begin("done")


def admit_all(settings: Settings, paths: list[Path], start: Any, answer: Any) -> None:
    """Admits deliveries of the hospital east one after the other, when all that wait at `start` are ready."""
    store = open_store(settings)
    start.wait()
    outcomes = []
    for path in paths:
        try:
            outcomes.append((path.name, str(engine.admit(store, path, Hospital("east")).already)))
        except Exception as error:  # noqa: BLE001 - the test asserts on it
            outcomes.append((path.name, f"{type(error).__name__}: {error}"))
    answer.send(outcomes)


def _watch_steps(home: str, take_step: Callable[[str], None]) -> None:
    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event in _CHANGES and str(args[0]).startswith(home) and not _only_reads(event, args):
            take_step(event)

    sys.addaudithook(hear)
    sa.event.listen(sa.Engine, "before_cursor_execute", lambda *_: take_step("SQL"))
    sa.event.listen(sa.Engine, "commit", lambda *_: take_step("SQL"))


def _only_reads(event: str, args: tuple[Any, ...]) -> bool:
    return event == "open" and (args[2] & (os.O_WRONLY | os.O_RDWR)) == 0


def _watch_phases(marks: Marks) -> None:
    def watch(where: Any, name: str, before: str, after: str = "") -> None:
        function = getattr(where, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            marks.begin(before)
            result = function(*args, **kwargs)
            if after:
                marks.begin(after)
            return result

        setattr(where, name, run)

    watch(engine, "examine_files", "examine")
    watch(settling, "clear_unsettled_batches", "settle")
    watch(settling, "write_batch", "batch")
    watch(settling, "keep_refused", "quarantine")
    watch(settling, "record_delivery", "transaction", "committed")
    watch(engine, "leave_inbox", "leave")


def take_inbox(settings: Settings, start: Any, answer: Any) -> None:
    """Admits what waits in the inbox, as the flow does, when all that wait at `start` are ready."""
    from bcd.admission.delivery import find_deliveries

    store = open_store(settings)
    start.wait()
    outcomes = []
    for hospital, path in find_deliveries(settings):
        try:
            outcomes.append((path.name, str(engine.admit(store, path, hospital).already)))
        except Exception as error:  # noqa: BLE001 - the test asserts on it
            outcomes.append((path.name, type(error).__name__))
    answer.send(outcomes)
