"""How commands speak to a terminal: progress bars, headings, tables, and flows run in this process."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.progress import Advance, show_progress
from bcd.settings import require_home

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.cli.screen import Screen
    from bcd.settings import Settings


_GAP = 3
"""Columns of the terminal between two of a table."""

_SHORT = 16
"""A column whose cells are no longer than this is not broken at all."""


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
            if not total:
                progress.update(task, total=1, completed=1)

    def say(self, message: str) -> None:
        """Prints one line."""
        self.console.print(f"  {message}")


def make_console(*, as_json: bool = False) -> Screen:
    """Returns a screen as wide as the terminal, or of 150 characters where there is none."""
    from bcd.cli.screen import Screen

    return Screen(as_json=as_json)


def whole_command(settings: Settings, *words: str) -> str:
    """Returns a command on this home as it works when it is pasted, also where `bcd` is not on the PATH."""
    return shlex.join([str(Path(sys.executable).with_name("bcd")), "--home", str(settings.home), *words])


@contextmanager
def open_terminal(
    settings: Settings, *, needs_home: bool = True, runs_flows: bool = False, as_json: bool = False
) -> Iterator[Screen]:
    """Makes this process one of bcd's, with progress on screen.

    Args:
        settings: Where everything is.
        needs_home: Whether there must be a home already; False: the command begins one, or needs none.
        runs_flows: Whether flows are imported and run inside.
        as_json: Whether the facts are printed as JSON at the end, and nothing else.

    Raises:
        BcdError: There is no home, and the command needs one; the Prefect server that the settings name does not
            answer; or Prefect's database is of a newer Prefect, on which the server that a flow starts would end
            without a reason.
    """
    from bcd.cli import daemons
    from bcd.runtime import enter_runtime, require_prefect

    if needs_home:
        require_home(settings)
    daemons.end_orphaned_daemons(settings)
    # The command tells errors itself, in a sentence; Prefect's log keeps them with their traceback.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    enter_runtime(settings)
    if runs_flows:
        from bcd.store.schemas import prefect_schema_database, require_schema

        require_prefect(settings)
        require_schema("prefect", prefect_schema_database(settings))
        settings.home.mkdir(parents=True, exist_ok=True)  # Prefect makes its own folder, but none above it
    console = make_console(as_json=as_json)
    with show_work(console):
        yield console
    console.close()


def show_work(console: Console) -> AbstractContextManager[None]:
    """Shows on a console what is under way."""
    return show_progress(TerminalSink(console))


def _is_figure(cell: str) -> bool:
    return cell == "" or cell.startswith("n/a") or cell[0] in ".0123456789+\N{MINUS SIGN}"


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of text under a header; columns of figures, but the first, are aligned to the right.

    Where the terminal is too narrow for the longest word of every column, each row becomes a paragraph of its own:
    a table would break words in the middle.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    console.print(f"\n[bold]{escape(title)}[/]")  # as a title of the table, it would be folded to its width
    longest = [_longest_word([name, *(row[at] for row in rows)], at) for at, name in enumerate(header)]
    if sum(longest) + _GAP * (len(header) - 1) > console.width:
        _print_paragraphs(console, header, rows)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(header):
        figures = position > 0 and all(_is_figure(row[position]) for row in rows)
        table.add_column(
            escape(name), justify="right" if figures else "left", overflow="fold", min_width=longest[position]
        )
    for row in rows:
        table.add_row(*map(Text, row))  # as text: `[n/a]` is no markup
    console.print(table)


def _longest_word(cells: Sequence[str], position: int) -> int:
    from rich.cells import cell_len

    # A name in the first column, a date or a figure is read as one.
    whole = position == 0 or all(len(cell) <= _SHORT for cell in cells)
    return max(cell_len(word) for cell in cells for word in ([cell] if whole else cell.split() or [""]))


def _print_paragraphs(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a row as its first cell, and under it what the others say: `name value`, as many in a line as fit."""
    from rich.padding import Padding
    from rich.text import Text

    for row in rows:
        console.print(Text(f"{header[0]} {row[0]}".strip(), style="bold"))
        line = Text()
        for name, cell in zip(header[1:], row[1:], strict=True):
            if not cell:
                continue
            part = Text.assemble((f"{name} ", "dim"), cell)
            if line and line.cell_len + _GAP + part.cell_len > console.width - _GAP:
                console.print(Padding(line, (0, 0, 0, _GAP), expand=False))
                line = Text()
            line = Text.assemble(line, "   ", part) if line else part
        console.print(Padding(line, (0, 0, 0, _GAP), expand=False))
