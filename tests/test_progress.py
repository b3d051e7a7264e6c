"""Progress goes to whoever shows it, and nowhere by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bcd.progress import Advance, is_progress_shown, say_progress, show_progress, track_progress


class _Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def track(self, description: str, total: float | None) -> Iterator[Advance]:
        done: list[float] = []
        yield done.append
        self.lines.append(f"{description}: {sum(done):g} of {total}")

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_progress_reaches_the_sink_for_the_duration_of_the_block() -> None:
    notes = _Notes()
    assert not is_progress_shown()
    with show_progress(notes):
        assert is_progress_shown()
        say_progress("begun")
        with track_progress("Decoding", total=3) as advance:
            advance(1)
            advance(2)
    say_progress("unheard")
    assert notes.lines == ["begun", "Decoding: 3 of 3"]


def test_the_innermost_sink_is_the_one_that_shows() -> None:
    outer, inner = _Notes(), _Notes()
    with show_progress(outer), show_progress(inner):
        say_progress("here")
    assert (outer.lines, inner.lines) == ([], ["here"])
