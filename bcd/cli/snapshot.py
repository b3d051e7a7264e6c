"""`bcd snapshot`: what was frozen, and what changed between two snapshots."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.completion import complete_snapshot
from bcd.cli.options import AsJson, command_group
from bcd.formats import format_some

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from rich.console import Console

    from bcd.settings import Settings
    from bcd.snapshots.difference import Change, SnapshotDifference
    from bcd.snapshots.freeze import Snapshot

SHOWN = 20
"""Rows of a long table; the manifest has them all."""

NamedSnapshot = Annotated[
    str,
    typer.Argument(
        metavar="SNAPSHOT", help="A snapshot's id, or the beginning of it.", autocompletion=complete_snapshot
    ),
]

app = command_group(
    "Show snapshots, and what changed between two.",
    "bcd snapshot list",
    "bcd snapshot show 1a2b3c4d",
    "bcd snapshot diff 1a2b3c4d 5e6f7a8b",
)


@app.command(name="list")
def list_snapshots_command(*, as_json: AsJson = False) -> None:
    """List the snapshots, oldest first, with the models that were trained on them."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.snapshots.manifest import list_snapshots

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        found = list_snapshots(settings)
        models = _models(settings)
        console.table(
            "Snapshots",
            found,
            {
                "snapshot": lambda each: each.id[:12],
                "frozen at (UTC)": lambda each: f"{each.frozen_at:%Y-%m-%d %H:%M}",
                "protocol": lambda each: each.protocol,
                "patients": lambda each: f"{each.patients:,}",
                "patches": lambda each: f"{each.patches:,}",
                "IDC": lambda each: _share(each.positive, each.patches),
                "batches": lambda each: str(each.batches),
                "models": lambda each: ", ".join(models.get(each.id, [])),
            },
        )
        if not found:
            console.print("No snapshot is frozen yet: `bcd retrain` freezes one.")


@app.command(name="show")
def show_snapshot_command(snapshot: NamedSnapshot, *, as_json: AsJson = False) -> None:
    """Show a snapshot's counts by split, class, hospital, batch and patient, and what was left out."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.snapshots.freeze import load_snapshot

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        opened = load_snapshot(settings, snapshot)
        _show_snapshot(console, opened)
        manifest = settings.snapshots / opened.id / "manifest.json"
        console.facts(json.loads(manifest.read_text("utf-8")))
        console.print(f"All of it: {manifest}", soft_wrap=True)


@app.command(name="diff")
def compare_snapshots_command(
    before: NamedSnapshot,
    after: Annotated[
        str,
        typer.Argument(
            metavar="LATER", help="A later snapshot's id, or the beginning of it.", autocompletion=complete_snapshot
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Say what changed from one snapshot to another."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.snapshots.difference import compare_snapshots
    from bcd.snapshots.freeze import load_snapshot

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        one, other = load_snapshot(settings, before), load_snapshot(settings, after)
        console.print(f"From snapshot {one.id[:12]} to {other.id[:12]}")
        difference = compare_snapshots(one, other)
        console.facts(difference)
        _show_difference(console, difference)


def _show_snapshot(console: Console, snapshot: Snapshot) -> None:
    from bcd.cli.screen import print_table
    from bcd.patches import patient_keys
    from bcd.snapshots.rows import REASONS
    from bcd.snapshots.snapshot import count_snapshot_by

    console.print(f"Snapshot {snapshot.id}", soft_wrap=True)
    options = ", ".join(f"{name} {value}" for name, value in snapshot.options.items())
    console.print(options or f"protocol {snapshot.protocol}")
    patches = snapshot.patches
    _show_counts(console, "split", snapshot.counts())
    _show_counts(console, "class", count_snapshot_by(patches, "label"))
    _show_counts(console, "hospital", count_snapshot_by(patches, "hospital"))
    by_batch = count_snapshot_by(patches, "batch")
    _show_counts(console, "batch", by_batch.set_axis(by_batch.index.str[:12]))
    _show_counts(
        console, "patient", count_snapshot_by(patches, patient_keys(patches) + " (" + patches["split"] + ")")
    )
    left_out = [
        [reason, f"{counts['patients']:,}", f"{counts['patches']:,}", REASONS.get(reason, "")]
        for reason, counts in snapshot.left_out.items()
    ]
    if left_out:
        print_table(console, "Left out", ["reason", "patients", "patches", "which means"], left_out)


def _show_counts(console: Console, name: str, counts: pd.DataFrame) -> None:
    from bcd.cli.screen import print_table

    shown = counts.sort_values("patches", ascending=False).head(SHOWN) if len(counts) > SHOWN else counts
    rows = [
        [str(group), *(f"{row[key]:,}" for key in ("patients", "patches")), _share(row["positive"], row["patches"])]
        for group, row in shown.iterrows()
    ]
    title = f"By {name}" + (f", the {SHOWN} largest of {len(counts):,}" if len(counts) > SHOWN else "")
    print_table(console, title, [name, "patients", "patches", "IDC"], rows)


def _show_difference(console: Console, difference: SnapshotDifference) -> None:
    from bcd.cli.screen import print_table

    rows = [
        ["patches", f"{difference.patches_added:,}", f"{difference.patches_removed:,}", ""],
        _list_row("patients", difference.patients_added, difference.patients_removed),
        _list_row("batches", difference.batches_added, difference.batches_removed),
        _list_row("complete slides", difference.completed, difference.no_longer_complete),
    ]
    print_table(console, "Patches, patients, batches, complete slides", ["", "added", "removed", "which"], rows)
    _show_changes(console, "Labels changed", [(way, f"{n:,}") for way, n in difference.relabelled.items()])
    _show_changes(console, "Options", difference.options)
    _show_changes(console, "Patches left out", difference.left_out)
    _show_changes(console, "Patients in another split", difference.moved[:SHOWN])
    if difference.moved and difference.same_protocol:
        console.print(
            f"{len(difference.moved)} patients moved to another split under one protocol, which must never happen:"
            " a model may be evaluated on what it saw. The catalog's table of splits was changed by hand.",
            style="red",
        )


def _list_row(name: str, added: Sequence[str], removed: Sequence[str]) -> list[str]:
    named = [*(f"+{each[:24]}" for each in added), *(f"\N{MINUS SIGN}{each[:24]}" for each in removed)]
    return [name, f"{len(added):,}", f"{len(removed):,}", format_some(named, SHOWN)]


def _show_changes(console: Console, title: str, changes: Sequence[Change] | Sequence[tuple[str, str]]) -> None:
    from bcd.cli.screen import print_table

    if changes:
        header = ["", "before", "after"] if len(changes[0]) == 3 else ["", "patches"]
        print_table(console, title, header, [[cell or "none" for cell in change] for change in changes])


def _share(positive: int, patches: int) -> str:
    return f"{positive / patches:.1%}" if patches else "n/a"


def _models(settings: Settings) -> dict[str, list[str]]:
    """Returns, for each snapshot's id, the versions that were trained on it."""
    from bcd.gate.history import list_versions_with_verdicts

    models: dict[str, list[str]] = {}
    for version in list_versions_with_verdicts(settings):
        models.setdefault(version.snapshot, []).append(version.name)
    return models
