"""`bcd patients`: who is in the store, in which split, and scored with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bcd.store.patient_list import PatientSummary


def patients(
    *,
    hospital: Annotated[str, typer.Option(help="Only patients of this hospital.")] = "",
    split: Annotated[str, typer.Option(help="Only of this split: train, val, gate or test.")] = "",
    scored: Annotated[
        bool | None, typer.Option("--scored/--unscored", help="Only who was scored, or only who never was.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many rows; --json prints all.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of them as JSON.")] = False,
) -> None:
    """List the patients in the store with their split, their patches and what they were scored with last."""
    from bcd.cli.terminal import at_work, print_table
    from bcd.errors import BcdError
    from bcd.settings import load_settings
    from bcd.snapshots.options import SplitOptions
    from bcd.snapshots.splits import SPLITS
    from bcd.store.patient_list import find_patients
    from bcd.store.store import open_store

    if split and split not in SPLITS:
        raise BcdError(f"There is no split {split}.", f"Name one of: {', '.join(SPLITS)}.")
    settings = load_settings()
    protocol = settings.options("splits", SplitOptions).recorded_as
    with at_work(settings) as console:
        found = find_patients(open_store(settings), protocol, hospital=hospital, split=split, scored=scored)
        if as_json:
            _print_json(found)
            return
        header = ["patient", "hospital", "split", "patches", "IDC", "unlabelled", "scored with", "at (UTC)"]
        rows = [
            [
                each.patient + " (withdrawn)" * each.withdrawn,
                each.hospital,
                each.split or "not dealt",
                f"{each.patches:,}",
                f"{each.positive:,}",
                f"{each.patches - each.labelled:,}",
                each.bundle or "never",
                f"{each.scored_at:%Y-%m-%d %H:%M}" if each.scored_at else "",
            ]
            for each in found[:limit]
        ]
        if rows:
            print_table(console, f"Patients, splits of protocol {protocol}", header, rows)
        shown = f", {limit:,} of them shown" if len(found) > limit else ""
        console.print(f"{len(found):,} patients{shown}.", highlight=False)


def _print_json(found: Sequence[PatientSummary]) -> None:
    import json
    from dataclasses import asdict

    rows = [asdict(one) | {"scored_at": one.scored_at and one.scored_at.isoformat()} for one in found]
    typer.echo(json.dumps(rows, indent=2))
