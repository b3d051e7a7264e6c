"""How commands speak to a terminal: progress bars, headings, tables, and flows run in this process."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.progress import Advance, show_progress

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.settings import Settings


class TerminalSink:
    """Shows each piece of work as a bar that stays when it is done; one line each where there is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def track(self, description: str, total: float | None) -> Iterator[Advance]:
        """Opens a bar."""
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("  {task.description:<46}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(description, total=total)
            yield lambda amount: progress.advance(task, amount)
            if total is None:
                progress.update(task, total=1, completed=1)

    def say(self, message: str) -> None:
        """Prints one line."""
        self.console.print(f"  {message}", highlight=False)


def make_console() -> Console:
    """Returns a console as wide as the terminal, or of 150 characters where there is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 150)


def whole_command(settings: Settings, *words: str) -> str:
    """Returns a command on this home as it works when it is pasted, also where `bcd` is not on the PATH."""
    return shlex.join([str(Path(sys.executable).with_name("bcd")), "--home", str(settings.home), *words])


@contextmanager
def at_work(settings: Settings) -> Iterator[Console]:
    """Makes this process one of bcd's, with progress on screen; flows may be imported and run inside."""
    from bcd.cli import daemons
    from bcd.runtime import enter

    daemons.end_orphans(settings)
    # The command tells errors itself, in a sentence; Prefect's log keeps them with their traceback.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    enter(settings)
    console = make_console()
    with show_progress(TerminalSink(console)):
        yield console


def _is_figure(cell: str) -> bool:
    return cell == "" or cell.startswith("n/a") or cell[0] in ".0123456789+\N{MINUS SIGN}"


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of text under a header; columns of figures, but the first, are aligned to the right."""
    from rich import box
    from rich.table import Table

    console.print(f"\n[bold]{title}[/]", highlight=False)  # as a title of the table, it would be folded to its width
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(header):
        figures = position > 0 and all(_is_figure(row[position]) for row in rows)
        table.add_column(name, justify="right" if figures else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
