"""How a command opens the terminal: progress bars, and flows run in this process."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.progress import Advance, show_progress
from bcd.settings import require_home

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.cli.screen import Screen
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
            if not total:
                progress.update(task, total=1, completed=1)

    def say(self, message: str) -> None:
        """Prints one line."""
        self.console.print(f"  {message}")


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
    from bcd.cli.screen import Screen
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
    console = Screen(as_json=as_json)
    with show_terminal_progress(console):
        yield console
    console.close()


def show_terminal_progress(console: Console) -> AbstractContextManager[None]:
    """Shows on a console what is under way."""
    return show_progress(TerminalSink(console))
