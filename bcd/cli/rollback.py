"""`bcd rollback`: back to the previous champion, recorded."""

from __future__ import annotations

from typing import Annotated

import typer


def rollback(
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept for ever.")],
) -> None:
    """Make the previous champion champion again; with another reason once more, and it is undone."""
    from bcd.cli.decisions import show_decision
    from bcd.cli.terminal import at_work
    from bcd.registry.by_person import Word, roll_back
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog

    settings, word = load_settings(), Word(by, reason)
    with at_work(settings) as console:
        show_decision(console, settings, roll_back(settings, open_catalog(settings), word))
