"""`bcd status`: what this BCD_HOME holds, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.cli.options import AsJson

if TYPE_CHECKING:
    from bcd.cli.screen import Screen
    from bcd.store.store import Store


def status_command(*, as_json: AsJson = False) -> None:
    """Show batches, models with the gate's verdicts, the last scores, what waits, and the servers."""
    from bcd.admission.waiting import count_set_aside, find_stuck
    from bcd.cli import daemons
    from bcd.cli.model import show_models
    from bcd.cli.terminal import open_terminal
    from bcd.gate.outlook import find_outlook
    from bcd.retraining.due import find_due
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        store = open_store(settings)
        console.print(f"BCD_HOME {settings.home}", soft_wrap=True)
        _show_batches(console, store)
        stuck, aside, due = find_stuck(store), count_set_aside(settings), find_due(store).sentence
        servers = daemons.describe_daemons(settings)
        console.facts({"home": settings.home, "stuck": stuck, "set_aside": aside, "due": due, "servers": servers})
        for each in stuck:
            console.print(str(each), style="yellow", soft_wrap=True)
        if aside:
            lie = (
                "delivery was refused as a whole and lies"
                if aside == 1
                else "deliveries were refused as a whole and lie"
            )
            console.print(f"{aside:,} {lie} in {settings.set_aside}, each beside its reason.", soft_wrap=True)
        console.print(due, soft_wrap=True)
        show_models(console, store, key="models")
        outlook = find_outlook(store)
        console.facts({"gate": outlook})
        console.print(outlook.sentence, soft_wrap=True)
        _show_scores(console, store)
        for line in servers:
            console.print(line, soft_wrap=True)


def _show_batches(console: Screen, store: Store) -> None:
    from bcd.store.delivery_queries import list_batches
    from bcd.store.drift import list_drift

    batches = list_batches(store)
    drift = {one.delivery: one.title for one in list_drift(store)}
    console.facts({"drift": drift})
    console.table(
        "Batches",
        batches,
        {
            "batch": lambda each: str(each.batch)[:8],
            "hospital": lambda each: each.hospital,
            "delivery": lambda each: each.name,
            "admitted at": lambda each: f"{each.admitted_at:%Y-%m-%d %H:%M}",
            "patients": lambda each: str(each.patients),
            "patches": lambda each: f"{each.admitted:,}",
            "refused": lambda each: str(each.refused_files),
            "ignored": lambda each: str(each.ignored),
            "drift": lambda each: drift.get(each.id, "not compared"),
        },
        key="batches",
    )
    if not batches:
        console.print("No batch is admitted yet: `bcd ingest DELIVERY --hospital NAME`.")


def _show_scores(console: Screen, store: Store) -> None:
    from bcd.store.ledger import list_failing, list_ledger

    console.table(
        "Patients who could not be scored",
        list_failing(store),
        {
            "patient": lambda each: f"{each.hospital}/{each.patient}",
            "bundle": lambda each: each.bundle,
            "attempts": lambda each: str(each.attempts),
            "since": lambda each: f"{each.since:%Y-%m-%d %H:%M}",
            "last": lambda each: f"{each.at:%Y-%m-%d %H:%M}",
            "why": lambda each: each.error + " Given up: name the patient to try again." * each.is_given_up,
        },
        key="failing",
    )
    console.table(
        "Last scores",
        list_ledger(store, limit=10),
        {
            "patient": lambda each: f"{each.hospital}/{each.patient}",
            "bundle": lambda each: each.bundle,
            "at": lambda each: f"{each.at:%Y-%m-%d %H:%M}",
            "where": lambda each: each.error or each.folder,
        },
        key="scores",
    )
