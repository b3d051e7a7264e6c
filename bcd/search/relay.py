"""Progress of a worker's process, as lines of JSON on its output, shown again by whoever started it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from bcd.progress import Advance, say_progress, track_progress

_SECONDS_BETWEEN = 0.2


class PipeSink:
    """Sends progress as lines of JSON.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    @contextmanager
    def track(self, description: str, total: float | None) -> Iterator[Advance]:
        """Announces a piece of work and sends how far it is, a few times a second."""
        self.send(open=description, total=total)
        unsent, sent_at = 0.0, time.monotonic()

        def advance(amount: float) -> None:
            nonlocal unsent, sent_at
            unsent += amount
            if time.monotonic() - sent_at >= _SECONDS_BETWEEN:
                self.send(advance=unsent)
                unsent, sent_at = 0.0, time.monotonic()

        try:
            yield advance
        finally:
            self.send(advance=unsent, close=True)

    def say(self, message: str) -> None:
        """Sends one line of news."""
        self.send(say=message)

    def send(self, **event: Any) -> None:
        """Sends one event."""
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()


class Relay:
    """Shows what a `PipeSink` sends.

    Args:
        bars: Whether to show bars too; a terminal shows one at a time.
    """

    def __init__(self, *, bars: bool) -> None:
        self._bars = bars
        self._open = ExitStack()
        self._advance: Advance = lambda _amount: None

    def show(self, event: dict[str, Any]) -> None:
        """Shows one event."""
        if "say" in event:
            say_progress(event["say"])
        if not self._bars:
            return
        if "open" in event:
            self._advance = self._open.enter_context(track_progress(event["open"], total=event["total"]))
        if "advance" in event:
            self._advance(event["advance"])
        if "close" in event:
            self.close()

    def close(self) -> None:
        """Closes the bar that is open."""
        self._open.close()
        self._advance = lambda _amount: None
