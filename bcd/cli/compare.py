"""`bcd compare`: two versions on the same patients."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def compare(
    a: Annotated[str, typer.Argument(help="A version, such as 2, or an alias, such as champion.")],
    b: Annotated[str, typer.Argument(help="Another one; differences are of this one minus the first.")],
    *,
    split: Annotated[Literal["test", "val", "gate"], typer.Option(help="On whose patients.")] = "test",
    snapshot: Annotated[str, typer.Option(help="Of which snapshot; none: that of the newer version.")] = "",
    by: Annotated[str, typer.Option(help="Who looks; needed for gate patients.")] = "",
    reason: Annotated[str, typer.Option(help="Why; needed for gate patients.")] = "",
) -> None:
    """Compare two versions on the same patients: differences with intervals by patient."""
    from bcd.cli.terminal import at_work, print_table
    from bcd.evaluation.options import EvaluateOptions
    from bcd.evaluation.report.tables import difference_table, format_level
    from bcd.gate.comparison import compare_versions
    from bcd.gate.overrides import Word
    from bcd.settings import load_settings
    from bcd.store.catalog import open_catalog

    settings = load_settings()
    word = Word(by, reason) if by or reason else None
    with at_work(settings) as console:
        evaluate = settings.options("evaluation", EvaluateOptions)
        found = compare_versions(
            settings, open_catalog(settings), a, b, evaluate, split=split, snapshot=snapshot, word=word
        )
        caption = (
            f"Snapshot {found.snapshot[:12]}, {found.n_patches:,} patches of {found.n_patients} {split} patients; "
            f"{format_level(evaluate.confidence)} intervals by patient."
        )
        table = difference_table(found.differences, caption=caption)
        print_table(console, f"{found.b} minus {found.a}", table.header, table.rows)
        console.print(caption, style="dim", highlight=False)
        console.print(
            "A rate rests on the patches of its denominator (recall: those labelled IDC; specificity: those labelled"
            " none), a metric that needs both classes on those of the rarer one.",
            style="dim",
            highlight=False,
        )
        if split == "val":
            console.print("Val patients chose the epoch and fitted the calibrator: they flatter.", style="yellow")
