"""`bcd promote` and `bcd rollback`: what a person decides about versions, recorded with name and reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.settings import Settings
    from bcd.store.decisions import Decision
    from bcd.store.store import Store


def show_decision(console: Console, settings: Settings, decision: Decision) -> None:
    """Prints what was recorded, and who is champion now."""
    from bcd.tracking.lookup import MODEL, resolve_version
    from bcd.tracking.store import open_client

    client = open_client(settings)
    console.print(f"Recorded: {' '.join(decision.reasons)}", highlight=False)
    for alias in ("champion", "previous", "challenger"):
        version = resolve_version(client, alias)
        console.print(f"  {alias:<10} {f'{MODEL}/{version}' if version else 'none'}", highlight=False)


def show_lost_champion(console: Console, store: Store) -> None:
    """Prints which version was champion and the way back, where the alias was deleted by hand."""
    from bcd.bundle.aliases import find_lost_champion, tell_lost_champion
    from bcd.bundle.rows import read_rows

    lost = find_lost_champion(read_rows(store.settings), store)
    if lost is not None:
        console.print(" ".join(tell_lost_champion(lost)), style="yellow", highlight=False)


def promote(
    version: Annotated[str, typer.Argument(help="The version, such as 3, or an alias, such as challenger.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept for ever.")],
    force: Annotated[bool, typer.Option("--force", help="Promote it whatever the gate says.")] = False,
    answer: Annotated[
        Literal["PROMOTE", "HOLD", "REJECT"], typer.Option(help="What to answer where the gate asks for approval.")
    ] = "PROMOTE",
) -> None:
    """Approve a promotion that awaits it, or force one; both are recorded with name and reason."""
    from bcd.cli.terminal import at_work
    from bcd.errors import BcdError
    from bcd.gate.overrides import Word, answer_approval, force_promotion
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    if force and answer != "PROMOTE":
        raise BcdError(f"--force promotes, and --answer says {answer}.", "Leave one of them out.")
    settings, word = load_settings(), Word(by, reason)
    with at_work(settings) as console:
        store = open_store(settings)
        decision = force_promotion(store, version, word) if force else answer_approval(store, version, word, answer)
        show_decision(console, settings, decision)


def rollback(
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept for ever.")],
) -> None:
    """Make the previous champion champion again; with another reason once more, and it is undone."""
    from bcd.cli.terminal import at_work
    from bcd.gate.overrides import Word, roll_back
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings, word = load_settings(), Word(by, reason)
    with at_work(settings) as console:
        show_decision(console, settings, roll_back(open_store(settings), word))
