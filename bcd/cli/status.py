"""`bcd status`: what this BCD_HOME holds, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.store.store import Store


def status() -> None:
    """Show batches, patients, models with the gate's verdicts, scored patients, and servers."""
    from bcd.admission.waiting import count_set_aside, find_stuck
    from bcd.cli import daemons
    from bcd.cli.model import show_models
    from bcd.cli.terminal import at_work
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings = load_settings()
    with at_work(settings) as console:
        store = open_store(settings)
        console.print(f"BCD_HOME {settings.home}", soft_wrap=True, highlight=False)
        _show_batches(console, store)
        for stuck in find_stuck(store):
            console.print(str(stuck), style="yellow", soft_wrap=True, highlight=False)
        aside = count_set_aside(settings)
        if aside:
            lie = (
                "delivery was refused as a whole and lies"
                if aside == 1
                else "deliveries were refused as a whole and lie"
            )
            console.print(f"{aside:,} {lie} in {settings.set_aside}, each beside its reason.", soft_wrap=True)
        console.print(_describe_due(store), soft_wrap=True, highlight=False)
        show_models(console, store)
        _show_scores(console, store)
        for line in daemons.describe(settings):
            console.print(line, soft_wrap=True, highlight=False)


def _show_batches(console: Console, store: Store) -> None:
    from bcd.cli.terminal import print_table
    from bcd.store.batches import list_batches

    batches = list_batches(store)
    if not batches:
        console.print("No batch is admitted yet: `bcd ingest DELIVERY --hospital NAME`.", highlight=False)
        return
    header = ["batch", "hospital", "delivery", "admitted at", "patients", "patches", "refused", "ignored"]
    rows = [
        [
            each.id[:8],
            each.hospital,
            each.delivery,
            f"{each.admitted_at:%Y-%m-%d %H:%M}",
            str(each.patients),
            f"{each.patches:,}",
            str(each.refused),
            str(each.ignored),
        ]
        for each in batches
    ]
    print_table(console, "Batches", header, rows)


def _describe_due(store: Store) -> str:
    from bcd.retraining.due import find_due
    from bcd.retraining.options import RetrainOptions
    from bcd.snapshots.options import SplitOptions

    protocol = store.settings.options("splits", SplitOptions).recorded_as
    return find_due(store, store.settings.options("retrain", RetrainOptions), protocol).sentence


def _show_scores(console: Console, store: Store) -> None:
    from bcd.cli.terminal import print_table
    from bcd.store.ledger import list_scores

    scores = list_scores(store, limit=10)
    if scores:
        rows = [
            [f"{each.hospital}/{each.patient}", each.bundle, f"{each.at:%Y-%m-%d %H:%M}", each.error or each.folder]
            for each in scores
        ]
        print_table(console, "Last scores", ["patient", "bundle", "at", "where"], rows)
