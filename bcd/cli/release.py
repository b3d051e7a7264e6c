"""`bcd release`: admit refused files after all, on the record."""

from __future__ import annotations

from typing import Annotated

import typer


def release(
    delivery: Annotated[str, typer.Argument(help="Id of a batch or delivery, its beginning, or a delivery's name.")],
    files: Annotated[list[str], typer.Argument(help="Refused files as `bcd refusals` shows them; * is any text.")],
    author: Annotated[str, typer.Option(help="Who decided.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the files for ever.")],
    label: Annotated[
        int | None, typer.Option(min=0, max=1, help="The label that is right, instead of the name's.")
    ] = None,
) -> None:
    """Admit refused files after a person has looked at them; who and why is recorded."""
    from bcd.admission.release import release as release_files
    from bcd.admission.report import report_path
    from bcd.cli.terminal import at_work, print_table
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog

    settings = load_settings()
    with at_work(settings) as console:
        done = release_files(
            settings, open_catalog(settings), delivery, files, author=author, reason=reason, label=label
        )
        if done.released:
            console.print(f"Released {len(done.released):,} of {done.delivery.name}.", highlight=False)
        if done.refused:
            rows = [[each.name, each.rule, each.message] for each in done.refused]
            print_table(console, "Refused again", ["file", "rule", "what is wrong"], rows)
            console.print(
                "A patch that is admitted already gets another label by `bcd labels import`.", highlight=False
            )
        console.print(
            f"Report {report_path(settings, done.made or done.delivery.id)}", soft_wrap=True, highlight=False
        )
