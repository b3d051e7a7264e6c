"""`bcd lineage`: where a report, a patient, a patch or a version comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.completion import complete_hospital, complete_patient
from bcd.cli.options import AsJson

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.lineage.link import Link


def lineage_command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PATIENT|REPORT|VERSION|PATCH",
            help="A patient; a report's file or folder; a version or an alias; a patch, as 8867_idx5_x51_y1001.",
            autocompletion=complete_patient,
        ),
    ],
    *,
    hospital: Annotated[
        str,
        typer.Option(help="The patient's hospital, where two know the identifier.", autocompletion=complete_hospital),
    ] = "",
    to: Annotated[
        Path | None, typer.Option(help="A folder to write it into: a page, JSON, and an RO-Crate of them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show where something comes from: every link from the delivered file to the report, with hash, time and who."""
    from bcd.cli.terminal import open_terminal
    from bcd.lineage.trace import trace
    from bcd.lineage.write import PAGE, lineage_as_json, write_lineage
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        with open_store(settings) as store:
            found = trace(store, what.strip(), hospital.strip())
        console.facts(lineage_as_json(found))
        console.print(f"\n[bold]{found.subject}[/]")
        for link in found.links:
            _show_link(console, link)
        if to is not None:
            write_lineage(found, to)
            console.print(f"\nWritten: {to / PAGE}", soft_wrap=True, highlight=False)


def _show_link(console: Console, link: Link) -> None:
    """Prints a link: what it is, when and by whom it was made, its hash, and what else is recorded."""
    from rich.markup import escape

    console.print(f"\n[bold]{link.kind}[/] {escape(link.name)}", soft_wrap=True, highlight=False)
    made = [f"{link.at:%Y-%m-%d %H:%M:%S}"] if link.at else []
    lines = [
        " ".join([*made, *([f"by {link.by}"] if link.by else [])]),
        f"sha256 {link.sha256} of {link.hash_of}" if link.hash_of else link.sha256,
        f"lies in {link.where}" if link.where else "",
        *link.facts,
    ]
    for line in [f"missing: {link.missing}" if link.missing else "", *lines]:
        if line:
            console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    if link.previous:
        console.print(
            f"    from {', '.join(link.previous)}", markup=False, highlight=False, soft_wrap=True, style="dim"
        )
