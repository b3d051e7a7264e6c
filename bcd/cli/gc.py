"""`bcd gc`: remove what is stored of withdrawn patients, and say what remains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.registry.erasure import PatientErasure


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say only what would be done.")] = False,
) -> None:
    """Remove pixels, scores and refused files of withdrawn patients, where no registered model needs them."""
    from bcd.cli.terminal import at_work
    from bcd.registry.erasure import erase_withdrawn
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog

    settings = load_settings()
    with at_work(settings) as console:
        erasures = erase_withdrawn(settings, open_catalog(settings), dry_run=dry_run)
        if not erasures:
            console.print("No patient is withdrawn: nothing to remove.", highlight=False)
        for erasure in erasures:
            _show(console, erasure, dry_run=dry_run)


def _show(console: Console, erasure: PatientErasure, *, dry_run: bool) -> None:
    console.print(f"\n[bold]{erasure.hospital}/{erasure.patient}[/], withdrawn {erasure.withdrawn_at:%Y-%m-%d}")
    lines = [f"{'would remove' if dry_run else 'removed'}: {thing}" for thing in erasure.removed]
    if not erasure.removed:
        lines.append("nothing can be removed now" if erasure.kept else "nothing is left to remove")
    if erasure.kept:
        lines.append(
            f"kept: pixels of {sum(erasure.kept.values()):,} patches, for {', '.join(erasure.models)};"
            " delete these versions in MLflow and run this again"
        )
    lines += [f"remains: {sentence}" for sentence in erasure.remains]
    for line in lines:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
