"""`bcd ingest`: admit a delivery, or everything that waits in the inbox."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bcd.cli.completion import complete_hospital
from bcd.cli.options import AsJson
from bcd.patches import FINEST, MOST_COARSE


def ingest_command(
    delivery: Annotated[
        str, typer.Argument(help="A folder, archive, slide or URL (s3://…). By default all that waits in the inbox.")
    ] = "",
    hospital: Annotated[
        str, typer.Option(help="The hospital that the delivery comes from.", autocompletion=complete_hospital)
    ] = "",
    spacing: Annotated[
        float | None,
        typer.Option(
            min=FINEST,
            max=MOST_COARSE,
            help="µm per pixel of slides that do not state it; or a confirmation of one coarser than 1.2.",
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Admit a delivery: each good patch once. Every refused file is kept with its reason."""
    from bcd.admission.beside import describe_delivered_labels
    from bcd.admission.sources.remote import is_delivery_url
    from bcd.admission.waiting import find_stuck
    from bcd.cli.tables import print_admissions
    from bcd.cli.terminal import open_terminal
    from bcd.errors import BcdError, NotFoundError
    from bcd.settings import load_settings
    from bcd.store.hospitals import find_declared_hospital
    from bcd.store.store import open_store

    settings = load_settings()
    if delivery:
        if not hospital:
            raise BcdError(f"{delivery} has no hospital.", "Name it: `bcd ingest DELIVERY --hospital NAME`.")
        if not is_delivery_url(delivery):  # before Prefect starts, which takes seconds
            if not Path(delivery).exists():
                raise NotFoundError(f"There is no delivery {delivery}.", "Check the path.")
            delivery = str(Path(delivery).absolute())
        find_declared_hospital(open_store(settings), hospital)
    with open_terminal(settings, needs_home=not delivery, runs_flows=True, as_json=as_json) as console:
        from flows.ingest import ingest

        admissions = ingest(delivery, hospital, spacing)
        print_admissions(console, admissions)
        if not admissions:
            stuck = find_stuck(open_store(settings))
            for each in stuck:
                console.print(str(each), style="yellow", soft_wrap=True)
            if not stuck:
                console.print(f"Nothing is admitted: put deliveries into {settings.inbox}/HOSPITAL/.")
            return
        for each in admissions:
            report = settings.reports / f"{each.id[:12]}.html"
            console.print(f"  report {report}", soft_wrap=True)
            for line in describe_delivered_labels(open_store(settings), each):
                console.print(f"  {line}", soft_wrap=True, markup=False)
