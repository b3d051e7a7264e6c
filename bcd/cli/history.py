"""`bcd history`: what happened to every version, when, why, and who decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bcd.gate.history import Event

_COLOURS = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red", "LOOK": "dim"}


def history(
    version: Annotated[str, typer.Argument(help="Only what concerns this version, such as 3.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """List what happened to the versions: registered, evaluated, promoted, rolled back, and by whom."""
    from bcd.cli.promote import show_lost_champion
    from bcd.cli.terminal import at_work
    from bcd.gate.history import list_events, list_versions
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog

    settings = load_settings()
    with at_work(settings) as console:
        catalog = open_catalog(settings)
        events = list_events(settings, catalog, version)
        if as_json:
            _print_json(events)
            return
        if not events:
            console.print("Nothing has been registered or decided yet: `bcd retrain`.", highlight=False)
            return
        for event in events:
            _show(console, event)
        aliases = {alias: one.name for one in list_versions(settings) for alias in one.aliases}
        now = ", ".join(f"{alias} {name}" for alias, name in sorted(aliases.items())) or "no champion"
        console.print(f"\nNow: {now}.", highlight=False)
        show_lost_champion(console, settings, catalog)


def _show(console: Console, event: Event) -> None:
    what = {"gate": "the gate", "recheck": "evaluated again", "look": "looked at"}.get(event.what, event.what)
    verdict = f" [bold {_COLOURS[event.verdict]}]{event.verdict}[/]" if event.verdict else ""
    against = f" against {event.against}" if event.against and event.what != "registered" else ""
    gone = " [dim](no longer in the registry)[/]" if event.is_gone else ""
    when = f"{event.at:%Y-%m-%d %H:%M}"
    console.print(f"{when}  [bold]{event.version}[/]{gone} {what}{verdict}{against}", highlight=False)
    for reason in event.why:
        console.print(f"    {reason}", highlight=False, markup=False)


def _print_json(events: Sequence[Event]) -> None:
    import json
    from dataclasses import asdict

    typer.echo(json.dumps([asdict(one) | {"at": one.at.isoformat()} for one in events], indent=2))
