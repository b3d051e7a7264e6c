"""`bcd search`: a study of networks on one snapshot, joined by running the same command elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.completion import complete_snapshot
from bcd.cli.options import AsJson

if TYPE_CHECKING:
    from bcd.cli.screen import Screen
    from bcd.search.records import StudyResult


def search_command(
    *,
    plan: Annotated[str, typer.Option(help="The id of a plan whose search goes on. By default a new plan.")] = "",
    snapshot: Annotated[
        str,
        typer.Option(
            help="The snapshot's id, or its beginning. By default all that is admitted is frozen now.",
            autocompletion=complete_snapshot,
        ),
    ] = "",
    trials: Annotated[
        int | None, typer.Option(min=1, help="How many networks are tried, earlier ones of the study included.")
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Hours of training of all workers together; the search ends at whichever limit comes first.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of a trial.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="How many trials run at a time on this machine.")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds the best networks are refitted with.")
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="The name of the study. By default bcd names it by snapshot and options.")
    ] = None,
    own: Annotated[
        list[Path] | None,
        typer.Option("--try", help="An architecture of your own to try too, as a file; may be said several times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Search for a better network than the default. The same command on another machine joins the study."""
    from bcd.cli.terminal import open_terminal, whole_command
    from bcd.errors import BcdError
    from bcd.networks.files import load_architecture
    from bcd.search.options import SearchOptions
    from bcd.settings import load_settings

    settings = load_settings()
    if hours is not None and trials is None:
        trials = 0  # the hours end it
    asked = {"trials": trials, "hours": hours, "epochs": epochs, "seeds": seeds, "study": study}
    if plan and (snapshot or any(value is not None for value in asked.values())):
        raise BcdError("A plan says how far its search goes.", "Leave --plan out, or the other options.")
    options = settings.options("search", SearchOptions, **asked)
    architectures = {file.name: load_architecture(file) for file in own or []}
    with open_terminal(settings, runs_flows=True, as_json=as_json) as console:
        from flows.preprocess import preprocess
        from flows.search import search

        plan = plan or preprocess(snapshot, search=options)
        try:
            result = search(plan, workers or 0, architectures)
        except KeyboardInterrupt:
            again = whole_command(settings, "search", "--plan", plan)
            console.print(f"\nTo go on: {again}", soft_wrap=True)
            raise
        _show_study(console, result)


def _show_study(console: Screen, study: StudyResult) -> None:
    """Prints the trials of a study, what its candidates gain, and the verdict."""
    from bcd.formats import format_difference

    console.table(
        f"Trials of {study.study}",
        [trial for trial in study.trials if trial.state != "too large"],
        {
            "trial": lambda each: each.name + " (chosen)" * (each.number == study.best),
            "end": lambda each: each.state,
            "val score": lambda each: "" if each.value is None else f"{each.value:.3f}",
            "parameters": lambda each: f"{each.parameters:,}",
            "million multiply-adds": lambda each: f"{each.multiply_adds / 1e6:.1f}",
            "seconds": lambda each: f"{each.seconds:.0f}",
        },
        key="trials",
    )
    console.table(
        "Refits, against the default's",
        study.gains,
        {
            "trial": lambda each: str(each.trial),
            "val scores": lambda each: " ".join(f"{score:.3f}" for score in each.scores),
            "the default's": lambda each: " ".join(f"{score:.3f}" for score in each.default),
            "gain": format_difference,
        },
        key="gains",
    )
    chosen = {"architecture": study.architecture, "training": study.training, "preparation": study.preparation}
    console.facts({"study": study.study, "best": study.best, "note": study.note, **chosen})
    console.print(study.note, highlight=False)
