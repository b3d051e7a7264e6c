"""`bcd labels`: labels that come late, are corrected, or are taken back, and patches that are in doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Import labels and corrections; show patches that are in doubt.", no_args_is_help=True)


@app.command(name="import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: patient, slide, x, y (or name), label, hospital.")],
    author: Annotated[str, typer.Option(help="Who says so.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the labels for ever.")],
    hospital: Annotated[str, typer.Option(help="The hospital of lines that name none.")] = "",
) -> None:
    """Revise labels by a file, nothing of it where a line is faulty; the latest revision of a label counts."""
    from bcd.cli.terminal import at_work
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog
    from bcd.store.revisions import import_labels

    settings = load_settings()
    with at_work(settings) as console:
        done = import_labels(
            settings, open_catalog(settings), file, hospital=hospital or None, author=author, reason=reason
        )
        changes = "Nothing changes" if not done.changed and not done.settled else f"{done.changed:,} labels changed"
        console.print(
            f"{changes}: {done.taken_back:,} taken back, {done.settled:,} doubts settled, {done.unchanged:,} were as"
            f" said. {done.match.unmatched:,} of {done.match.rows:,} rows name no patch;"
            f" {done.unlabelled:,} patches of these hospitals are without a label.",
            highlight=False,
            soft_wrap=True,
        )
        if done.match.note:
            console.print(done.match.note, style="yellow", highlight=False, soft_wrap=True, markup=False)


@app.command()
def doubts() -> None:
    """Show the patches that a later delivery made doubtful; a label import settles them."""
    from bcd.cli.terminal import at_work, print_table
    from bcd.patches import PatchName
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog
    from bcd.store.conflicts import list_conflicts

    settings = load_settings()
    with at_work(settings) as console:
        found = [each for each in list_conflicts(open_catalog(settings)) if each.is_open]
        if not found:
            console.print("No patch is in doubt.", highlight=False)
            return
        rows = [
            [
                each.hospital,
                PatchName(each.patient, each.slide, each.x, each.y, None).format(),
                each.rule,
                f"{each.found_at:%Y-%m-%d}",
                each.message,
            ]
            for each in found
        ]
        print_table(console, "In doubt", ["hospital", "patch", "rule", "since", "why"], rows)
