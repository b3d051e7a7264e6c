"""`bcd withdraw`: leave a patient out from now on."""

from __future__ import annotations

from typing import Annotated

import typer


def withdraw(
    patient: Annotated[str, typer.Argument(help="The patient: pseudonym, or the hospital's own identifier.")],
    author: Annotated[str, typer.Option(help="Who records it.")],
    reason: Annotated[str, typer.Option(help="Why, without a name; it is kept for ever.")],
    hospital: Annotated[str, typer.Option(help="The patient's hospital.")] = "",
) -> None:
    """Withdraw a patient's consent: no later snapshot holds the patient, and `bcd gc` removes the pixels."""
    from bcd.cli.terminal import at_work
    from bcd.gate.history import list_versions
    from bcd.retention.patients import models_by_snapshot
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog
    from bcd.store.withdrawals import find_snapshots
    from bcd.store.withdrawals import withdraw as record

    settings = load_settings()
    with at_work(settings) as console:
        done, is_new = record(
            settings, open_catalog(settings), patient, hospital=hospital or None, author=author, reason=reason
        )
        name = f"Patient {done.hospital}/{done.patient}"
        when = f"{done.withdrawn_at:%Y-%m-%d} by {done.author}"
        console.print(
            f"{name} is withdrawn." if is_new else f"{name} was withdrawn on {when}: nothing changes.",
            highlight=False,
        )
        snapshots = find_snapshots(settings, [done.person])[done.person]
        if snapshots:
            models = models_by_snapshot(list_versions(settings))
            trained = [model for snapshot in snapshots for model in models.get(snapshot, [])]
            held = ", ".join(snapshot[:12] for snapshot in snapshots)
            console.print(f"Earlier snapshots that hold the patient: {held}.", highlight=False, soft_wrap=True)
            console.print(
                f"Models that learned from the patient or were evaluated on it: {', '.join(trained) or 'none'}.",
                highlight=False,
                soft_wrap=True,
            )
        console.print("Next: `bcd gc --dry-run`, then `bcd gc`; it removes the pixels.", highlight=False)
