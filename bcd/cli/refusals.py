"""`bcd refusals`: which files of a delivery were refused, why, and what became of them."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bcd.store.delivery_queries import RefusedFile


def refusals(
    delivery: Annotated[str, typer.Argument(help="Id of a batch or delivery, its beginning, or a delivery's name.")],
    rule: Annotated[str, typer.Option(help="Only files that broke this rule.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all of them as CSV, without counts.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many rows; --csv prints all.")] = 200,
) -> None:
    """Show the refused files of a delivery: counts by rule, then each file with its reason."""
    from bcd.admission.findings import commonest_rule
    from bcd.admission.report import report_path
    from bcd.admission.rules import FIXES, RULES
    from bcd.cli.terminal import at_work, print_table
    from bcd.errors import BcdError
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog
    from bcd.store.delivery_queries import list_refused, match_delivery

    if rule and rule not in RULES:
        raise BcdError(f"There is no rule {rule}.", f"Name one of: {', '.join(RULES)}.")
    settings = load_settings()
    with at_work(settings) as console:
        catalog = open_catalog(settings)
        found = match_delivery(catalog, delivery)
        files = list_refused(catalog, found.id, rule=rule or None, limit=None if as_csv else limit)
        if as_csv:
            _write_csv(files)
            return
        counts = {code: count for code, count in found.refused.items() if not rule or code == rule}
        total = sum(counts.values())
        console.print(
            f"{found.name} of {found.hospital}: {total:,} refused"
            + (f" by {rule}" if rule else f" of {found.files:,} files, {found.released:,} of them released since"),
            highlight=False,
        )
        if found.reason:
            console.print(f"{found.reason} {FIXES[commonest_rule(found.refused)]}", soft_wrap=True, highlight=False)
        if not files:
            return
        print_table(
            console, "By rule", ["rule", "files", ""], [[code, f"{n:,}", RULES[code]] for code, n in counts.items()]
        )
        rows = [[each.name, each.rule, each.message, each.state] for each in files]
        print_table(console, "Files", ["file", "rule", "what is wrong", "now"], rows)
        if total > len(files):
            console.print(f"The first {len(files):,} of {total:,}; --csv prints all.", highlight=False)
        console.print(f"Quarantine {settings.quarantine / found.id}", soft_wrap=True, highlight=False)
        console.print(f"Report     {report_path(settings, found.id)}", soft_wrap=True, highlight=False)


def _write_csv(files: Sequence[RefusedFile]) -> None:
    columns = ["file", "rule", "message", "sha256", "kept", "state"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([each.name, each.rule, each.message, each.sha256, each.kept or "", each.state] for each in files)
