"""`bcd batch`: what every delivery became, which of its files were refused, and files released after all."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.completion import complete_batch
from bcd.cli.options import AsJson, By, Reason, command_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bcd.store.deliveries import Delivery, RefusedFile

NamedDelivery = Annotated[
    str,
    typer.Argument(
        metavar="BATCH",
        help="Id of a batch or delivery, its beginning, or a delivery's name.",
        autocompletion=complete_batch,
    ),
]

app = command_group(
    "Show what deliveries became; release refused files.",
    "bcd batch list",
    "bcd batch refusals monday.zip --rule blank",
    'bcd batch release monday.zip 8867_idx5_x51_y51_class0.png --by "Dr Lee" --reason "mucin, not blank"',
)

_COLUMNS: Mapping[str, Callable[[Delivery], str]] = {
    "batch": lambda each: (each.batch or ("refused" if each.reason else "none"))[:8],
    "hospital": lambda each: each.hospital,
    "delivery": lambda each: each.name,
    "admitted at": lambda each: f"{each.admitted_at:%Y-%m-%d %H:%M}",
    "patients": lambda each: f"{each.patients:,}",
    "patches": lambda each: f"{each.admitted:,}",
    "IDC": lambda each: f"{each.positive:,}",
    "unlabelled": lambda each: (
        f"{each.unlabelled:,}" + (f" ({each.unmatched_rows:,} rows unmatched)" if each.unmatched_rows else "")
    ),
    "refused": lambda each: f"{each.refused_files:,}" + (f" ({each.released:,} released)" if each.released else ""),
    "ignored": lambda each: f"{each.ignored:,}",
    "flags": lambda each: ", ".join(f"{count:,} {flag}" for flag, count in sorted(each.flags.items()) if count),
    "report": lambda each: each.id[:12],
}


@app.command(name="list")
def list_batches_command(*, as_json: AsJson = False) -> None:
    """Show every delivery with its batch, its counts, its flags and its admission report."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.delivery_queries import list_stored_deliveries
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        deliveries = list_stored_deliveries(open_store(settings))
        console.table("Batches", deliveries, _COLUMNS)
        if not deliveries:
            console.print("No batch is admitted yet: `bcd ingest DELIVERY --hospital NAME`.")
            return
        console.print(f"Reports    {settings.reports}/REPORT.html", soft_wrap=True)


@app.command(name="show")
def show_batch_command(delivery: NamedDelivery, *, as_json: AsJson = False) -> None:
    """Show one delivery: its counts, the patients of its batch, and its refused files by rule."""
    from bcd.admission.report import admission_report_path
    from bcd.admission.rules import RULES
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.delivery_queries import count_batch_by_patient, match_stored_delivery
    from bcd.store.objects import require
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        store = open_store(settings)
        found = match_stored_delivery(store, delivery)
        patients = count_batch_by_patient(store, found.batch) if found.batch else []
        report = require(settings, admission_report_path(settings, found.id))
        console.table("Delivery", [found], _COLUMNS, key="delivery")
        console.table(
            "Patients",
            [each._asdict() for each in patients],
            {
                "patient": lambda each: str(each["patient"]),
                "patches": lambda each: f"{each['patches']:,}",
                "IDC": lambda each: f"{each['positive']:,}",
                "unlabelled": lambda each: f"{each['unlabelled']:,}",
            },
            key="patients",
        )
        console.table(
            "Refused files",
            [{"rule": code, "files": count} for code, count in found.refused.items()],
            {
                "rule": lambda each: str(each["rule"]),
                "files": lambda each: f"{each['files']:,}",
                "which means": lambda each: RULES[str(each["rule"])],
            },
            key="refused",
        )
        console.facts({"report": report, "quarantine": settings.quarantine / found.id})
        console.print(f"Report     {report}", soft_wrap=True)


@app.command(name="refusals")
def list_refusals_command(
    delivery: NamedDelivery,
    *,
    rule: Annotated[str, typer.Option(help="Only files that broke this rule.")] = "",
    to: Annotated[Path | None, typer.Option(help="A .csv file to write all of them to, instead of printing.")] = None,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many rows; --json and --to take all.")] = 200,
) -> None:
    """Show the refused files of a delivery: counts by rule, then each file with its reason."""
    from bcd.admission.findings import commonest_rule
    from bcd.admission.report import admission_report_path
    from bcd.admission.rules import FIXES, RULES
    from bcd.cli.screen import print_table
    from bcd.cli.terminal import open_terminal
    from bcd.errors import BcdError, NotFoundError
    from bcd.settings import load_settings
    from bcd.store.delivery_queries import list_stored_refusals, match_stored_delivery
    from bcd.store.store import open_store

    if to is not None and to.suffix.lower() != ".csv":
        raise BcdError(f"{to} is no .csv.", "Name the file so.")
    if rule and rule not in RULES:
        raise NotFoundError(f"There is no rule {rule}.", f"Name one of: {', '.join(RULES)}.")
    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        store = open_store(settings)
        found = match_stored_delivery(store, delivery)
        files = list_stored_refusals(store, found.id, rule=rule or None, limit=None if to or as_json else limit)
        if to:
            _write_csv(to, files)
            console.facts(files)
            console.print(f"{len(files):,} refused files are in {to}.", soft_wrap=True)
            return
        counts = {code: count for code, count in found.refused.items() if not rule or code == rule}
        total = sum(counts.values())
        console.print(
            f"{found.name} of {found.hospital}: {total:,} refused"
            + (f" by {rule}" if rule else f" of {found.files:,} files, {found.released:,} of them released since"),
        )
        if found.reason:
            console.print(f"{found.reason} {FIXES[commonest_rule(found.refused)]}", soft_wrap=True)
        if files:
            means = [[code, f"{count:,}", RULES[code]] for code, count in counts.items()]
            print_table(console, "By rule", ["rule", "files", ""], means)
        console.table(
            "Files",
            files,
            {
                "file": lambda each: each.name,
                "rule": lambda each: each.rule,
                "what is wrong": lambda each: each.message,
                "now": lambda each: each.state,
            },
        )
        if total > len(files):
            console.print(f"The first {len(files):,} of {total:,}; --to FILE.csv writes all.")
        if files:
            console.print(f"Quarantine {settings.quarantine / found.id}", soft_wrap=True)
            console.print(f"Report     {admission_report_path(settings, found.id)}", soft_wrap=True)


@app.command(name="release")
def release_command(
    delivery: NamedDelivery,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="Refused files, as `bcd batch refusals` shows them; * is any text."),
    ],
    by: By,
    reason: Reason,
    label: Annotated[
        int | None, typer.Option(min=0, max=1, help="The label that is right, instead of the name's.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Admit refused files after a person has looked at them."""
    from bcd.admission.release import release as release_files
    from bcd.admission.report import admission_report_path
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        done = release_files(open_store(settings), delivery, files, sign_off=SignOff(by, reason), label=label)
        report = admission_report_path(settings, done.made or done.delivery.id)
        console.facts(
            {"delivery": done.delivery, "made": done.made, "released": done.released, "before": done.before}
        )
        if done.released:
            console.print(f"Released {len(done.released):,} of {done.delivery.name}.")
        console.table(
            "Refused again",
            done.refused,
            {
                "file": lambda each: each.name,
                "rule": lambda each: each.rule,
                "what is wrong": lambda each: each.message,
            },
            key="refused",
        )
        if done.refused:
            console.print("A patch that is admitted already gets another label by `bcd label import`.")
        console.facts({"report": report})
        console.print(f"Report {report}", soft_wrap=True)


def _write_csv(path: Path, files: Sequence[RefusedFile]) -> None:
    from bcd.files import whole_file

    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "rule", "message", "sha256", "kept", "state"])
        writer.writerows([one.name, one.rule, one.message, one.sha256, one.kept or "", one.state] for one in files)
