"""`bcd gc`: remove old versions and what is stored of withdrawn patients, and say what remains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bcd.retention.patients import PatientErasure
    from bcd.retention.versions import Retention


def gc(
    keep_versions: Annotated[
        int | None,
        typer.Option(min=1, help="Remove versions but the last so many and those with an alias, scores or a use."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say only what would be done.")] = False,
) -> None:
    """Remove old versions if asked to, and pixels, scores and refused files of withdrawn patients."""
    from bcd.cli.terminal import at_work
    from bcd.retention.patients import erase_withdrawn
    from bcd.retention.versions import remove_versions
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings = load_settings()
    with at_work(settings) as console:
        store = open_store(settings)
        if keep_versions is not None:  # first: pixels may go that these versions needed
            _show_versions(console, remove_versions(store, keep=keep_versions, dry_run=dry_run), dry_run=dry_run)
        erasures = erase_withdrawn(store, dry_run=dry_run)
        if not erasures:
            console.print("No patient is withdrawn: nothing to remove.", highlight=False)
        for erasure in erasures:
            _show(console, erasure, dry_run=dry_run)


def _show_versions(console: Console, versions: Sequence[Retention], *, dry_run: bool) -> None:
    for one in versions:
        size = f" ({one.size / 1e6:.1f} MB)" if one.size else ""
        done = "would remove" if dry_run else "removed"
        text = f"kept: {', '.join(one.kept_for)}" if one.kept_for else f"{done} with its files{size}"
        console.print(f"{one.version}  {text}", highlight=False)
    if not versions:
        console.print("No version is registered.", highlight=False)


def _show(console: Console, erasure: PatientErasure, *, dry_run: bool) -> None:
    console.print(f"\n[bold]{erasure.hospital}/{erasure.patient}[/], withdrawn {erasure.withdrawn_at:%Y-%m-%d}")
    lines = [f"{'would remove' if dry_run else 'removed'}: {thing}" for thing in erasure.removed]
    if not erasure.removed:
        lines.append("nothing can be removed now" if erasure.kept else "nothing is left to remove")
    if erasure.kept:
        lines.append(
            f"kept: pixels of {sum(erasure.kept.values()):,} patches, for {', '.join(erasure.models)};"
            " let these versions go (--keep-versions N, or delete them in MLflow) and run this again"
        )
    lines += [f"remains: {sentence}" for sentence in erasure.remains]
    for line in lines:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
