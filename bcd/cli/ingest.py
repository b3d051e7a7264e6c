"""`bcd ingest`: admit a delivery, or everything that waits in the inbox."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def ingest(
    delivery: Annotated[Path | None, typer.Argument(help="Folder or zip; none: all that waits in the inbox.")] = None,
    hospital: Annotated[str, typer.Option(help="The hospital that the delivery comes from.")] = "",
) -> None:
    """Admit a delivery: each good patch once, each refused file kept with its reason."""
    from bcd.admission.delivery import check_delivery
    from bcd.cli.terminal import at_work
    from bcd.cli.views import admission_rows
    from bcd.errors import BcdError
    from bcd.settings import load_settings

    settings = load_settings()
    if delivery is not None:
        if not hospital:
            raise BcdError(f"{delivery} has no hospital.", "Name it: bcd ingest DELIVERY --hospital NAME.")
        check_delivery(delivery)  # before Prefect starts, which takes seconds
    with at_work(settings) as console:
        from flows.ingest import ingest as ingest_flow

        admissions = ingest_flow(str(delivery.absolute()) if delivery else "", hospital)
        if not admissions:
            console.print(f"Nothing waits in {settings.inbox}: put deliveries into {settings.inbox}/HOSPITAL/.")
            return
        from bcd.cli.terminal import print_table

        print_table(console, "Admission", *admission_rows(admissions))
