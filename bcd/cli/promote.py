"""`bcd promote`: a person's word about a version: force its promotion, or answer the gate that asks for approval."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def promote(
    version: Annotated[str, typer.Argument(help="The version, such as 3, or an alias, such as challenger.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept for ever.")],
    force: Annotated[bool, typer.Option("--force", help="Promote it whatever the gate says.")] = False,
    answer: Annotated[
        Literal["PROMOTE", "HOLD", "REJECT"], typer.Option(help="What to answer where the gate asks for approval.")
    ] = "PROMOTE",
) -> None:
    """Approve a promotion that awaits it, or force one; both are recorded with name and reason."""
    from bcd.cli.decisions import show_decision
    from bcd.cli.terminal import at_work
    from bcd.errors import BcdError
    from bcd.registry.by_person import Word, answer_approval, force_promotion
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog

    if force and answer != "PROMOTE":
        raise BcdError(f"--force promotes, and --answer says {answer}.", "Leave one of them out.")
    settings, word = load_settings(), Word(by, reason)
    with at_work(settings) as console:
        catalog = open_catalog(settings)
        if force:
            decision = force_promotion(settings, catalog, version, word)
        else:
            decision = answer_approval(settings, catalog, version, word, answer)
        show_decision(console, settings, decision)
