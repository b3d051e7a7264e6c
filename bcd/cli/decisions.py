"""How commands show a decision that a person has taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.settings import Settings
    from bcd.store.catalog import Catalog
    from bcd.store.decisions import Decision


def show_decision(console: Console, settings: Settings, decision: Decision) -> None:
    """Prints what was recorded, and who is champion now."""
    from bcd.registry.lookup import MODEL, resolve_version
    from bcd.registry.tracking import open_client

    client = open_client(settings)
    console.print(f"Recorded: {' '.join(decision.reasons)}", highlight=False)
    for alias in ("champion", "previous", "challenger"):
        version = resolve_version(client, alias)
        console.print(f"  {alias:<10} {f'{MODEL}/{version}' if version else 'none'}", highlight=False)


def show_lost_champion(console: Console, settings: Settings, catalog: Catalog) -> None:
    """Prints which version was champion and the way back, where the alias was deleted by hand."""
    from bcd.registry.aliases import find_lost_champion, tell_lost_champion
    from bcd.registry.rows import read_rows

    lost = find_lost_champion(read_rows(settings), catalog)
    if lost is not None:
        console.print(" ".join(tell_lost_champion(lost)), style="yellow", highlight=False)
