"""Progress of long work, shown by whoever runs it: a rich bar in a terminal, an artifact in Prefect.

Library code says what it does and how far it is; the command or the flow installs the sink that shows it.

Examples:
    >>> with track_progress("Decoding patches", total=3) as advance:
    ...     for _ in range(3):
    ...         advance(1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[float], None]


class ProgressSink(Protocol):
    """Shows the progress of one piece of work at a time."""

    def track(self, description: str, total: float | None) -> AbstractContextManager[Advance]:
        """Opens a piece of work of `total` units (None: unknown) and yields the function that advances it."""
        ...

    def say(self, message: str) -> None:
        """Shows one line of news."""
        ...


class SilentSink:
    """Shows nothing: the default, so that the library can be used from a notebook or a test."""

    @contextmanager
    def track(self, description: str, total: float | None) -> Iterator[Advance]:  # noqa: ARG002
        """Yields a function that does nothing."""
        yield lambda _amount: None

    def say(self, message: str) -> None:
        """Shows nothing."""


_sinks: list[ProgressSink] = [SilentSink()]


@contextmanager
def show_progress(sink: ProgressSink) -> Iterator[None]:
    """Sends progress of this process to `sink` for the duration of the block."""
    # A process-wide stack rather than a context variable: Prefect runs some calls in threads of its own.
    _sinks.append(sink)
    try:
        yield
    finally:
        _sinks.remove(sink)


def is_progress_shown() -> bool:
    """Whether somebody has installed a sink already."""
    return len(_sinks) > 1


def track_progress(description: str, total: float | None = None) -> AbstractContextManager[Advance]:
    """Opens a piece of work; the block advances it by calling what it was given."""
    return _sinks[-1].track(description, total)


def say_progress(message: str) -> None:
    """Tells the user one line of news, such as a stage that was found done."""
    _sinks[-1].say(message)
