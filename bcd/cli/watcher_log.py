"""What a watcher writes: lines with the time, for the log of `bcd up`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from bcd.progress import Advance

_SILENT_SECONDS = 3600.0


class WatcherLog:
    """Lines with the time; what is the same at every look is said once an hour."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def say(self, message: str) -> None:
        """Writes a line, unless it was written within the hour."""
        now = time.monotonic()
        self._said = {line: at for line, at in self._said.items() if now - at < _SILENT_SECONDS}
        if message not in self._said:
            self._said[message] = now
            self.write(message)

    def write(self, message: str) -> None:
        """Writes a line."""
        sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {message}\n")
        sys.stdout.flush()

    @contextmanager
    def track(self, description: str, total: float | None) -> Iterator[Advance]:  # noqa: ARG002
        """Shows nothing of progress."""
        yield lambda _amount: None
