"""`bcd backup` and `bcd restore`: a copy of the home, and a home from a copy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def backup_command(
    *,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder of backups; only what is new in it is copied.")
    ],
    keys: Annotated[
        Path | None, typer.Option(help="Copy the key of pseudonyms to this folder, on another disk.")
    ] = None,
    deliveries: Annotated[
        bool, typer.Option("--deliveries", help="Copy the deliveries in inbox, received and set-aside too.")
    ] = False,
) -> None:
    """Copy databases, batches, models, scores and settings, while everything runs on."""
    from bcd.cli.terminal import open_terminal
    from bcd.retention.backup.make import make_backup
    from bcd.settings import load_settings
    from bcd.store.pseudonyms import key_path
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings) as console:
        made = make_backup(open_store(settings), to, keys=keys, deliveries=deliveries)
        manifest = made.manifest
        lines = [
            f"Backup {manifest.name} is complete: {len(manifest.files):,} files, {manifest.size / 1e6:,.1f} MB,"
            f" of which {made.new_files:,} files and {made.new_bytes / 1e6:,.1f} MB are new in {to}.",
            *(f"Not in it: {sentence}" for sentence in manifest.elsewhere),
        ]
        key = key_path(settings)
        if keys is not None and key.exists():
            lines.append(f"The key of pseudonyms is copied to {keys}: keep it apart from the backup.")
        elif manifest.key is not None:
            lines.append(
                f"Not in it: the key of pseudonyms {key} (`--keys FOLDER` copies it)."
                " Without it no later delivery of a hospital with raw identifiers is admitted."
            )
        lines.append(f"Next: `bcd restore {to} --home NEW` makes a home of it.")
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)


def restore_command(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="The folder of backups.")],
    home: Annotated[
        Path | None,
        typer.Option(help="The new home, which is empty or does not exist. By default BCD_HOME or ~/.bcd."),
    ] = None,
    backup: Annotated[str, typer.Option(help="The name of an earlier backup. By default the last.")] = "",
) -> None:
    """Make a home of a backup. Every file is checked; all is restored, or nothing."""
    from bcd.cli.screen import Screen
    from bcd.cli.terminal import TerminalSink
    from bcd.progress import show_progress
    from bcd.retention.backup.restore import restore_backup
    from bcd.settings import find_home, load_settings

    console = Screen()
    new = find_home(home)
    with show_progress(TerminalSink(console)):
        restored = restore_backup(source, new, name=backup or None)
    manifest = restored.manifest
    lines = [
        f"{new} is restored from the backup {manifest.name} of {manifest.home}:"
        f" {len(manifest.files):,} files, {manifest.size / 1e6:,.1f} MB.",
        *(f"Not in it: {sentence}" for sentence in manifest.elsewhere),
    ]
    if restored.withdrawals:
        lines.append(
            f"Patients who were withdrawn since the backup, recorded now: {restored.withdrawals}."
            " `bcd patient erase` removes their pixels again."
        )
    keys = load_settings(new).keys
    if manifest.key is not None and not (keys / "pseudonyms.key").exists():
        lines.append(
            f"Copy the key of pseudonyms (fingerprint {manifest.key}) from its own backup into {keys}:"
            " without it no delivery of a hospital with raw identifiers is admitted."
        )
    lines.append(f"Next: `bcd --home {new} doctor`.")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
