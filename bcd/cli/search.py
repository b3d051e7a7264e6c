"""`bcd search`: a study of networks on one snapshot, joined by running the same command elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.search.records import StudyResult


def search(
    *,
    plan: Annotated[str, typer.Option(help="Id of a plan whose search goes on; none: a new plan.")] = "",
    snapshot: Annotated[str, typer.Option(help="Id of the snapshot; none: all that is admitted, frozen now.")] = "",
    trials: Annotated[int | None, typer.Option(min=1, help="Networks to try, those tried before included.")] = None,
    hours: Annotated[
        float | None, typer.Option(min=0.001, help="Hours of training of all workers together, instead or besides.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of a trial.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time on this machine.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds with which the best are refitted.")] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study; none: by snapshot and options.")] = None,
) -> None:
    """Search for a better network than the default; run it elsewhere too, and both work on the same study."""
    from bcd.cli.terminal import at_work, whole_command
    from bcd.errors import BcdError
    from bcd.search.options import SearchOptions
    from bcd.settings import load_settings

    settings = load_settings()
    if hours is not None and trials is None:
        trials = 0  # the hours end it
    asked = {"trials": trials, "hours": hours, "epochs": epochs, "seeds": seeds, "study": study}
    if plan and (snapshot or any(value is not None for value in asked.values())):
        raise BcdError("A plan says how far its search goes.", "Leave --plan out, or the other options.")
    options = settings.options("search", SearchOptions, **asked)
    with at_work(settings, runs_flows=True) as console:
        from flows.preprocess import preprocess
        from flows.search import search as search_flow

        plan = plan or preprocess(snapshot, search=options)
        try:
            result = search_flow(plan, workers or 0)
        except KeyboardInterrupt:
            again = whole_command(settings, "search", "--plan", plan)
            console.print(f"\nTo go on: {again}", soft_wrap=True, highlight=False)
            raise
        show_study(console, result)


def show_study(console: Console, study: StudyResult) -> None:
    """Prints the trials of a study, what its candidates gain, and the verdict."""
    from bcd.cli.terminal import print_table
    from bcd.evaluation.report.tables import format_difference

    print_table(
        console,
        f"Trials of {study.study}",
        ["trial", "end", "val score", "parameters", "million multiply-adds", "seconds"],
        [
            [
                _name(trial.number, study.best),
                trial.state,
                "" if trial.value is None else f"{trial.value:.3f}",
                f"{trial.parameters:,}",
                f"{trial.multiply_adds / 1e6:.1f}",
                f"{trial.seconds:.0f}",
            ]
            for trial in study.trials
            if trial.state != "too large"
        ],
    )
    if study.gains:
        print_table(
            console,
            "Refits, against the default's",
            ["trial", "val scores", "the default's", "gain"],
            [
                [
                    str(gain.trial),
                    " ".join(f"{score:.3f}" for score in gain.scores),
                    " ".join(f"{score:.3f}" for score in gain.default),
                    format_difference(gain),
                ]
                for gain in study.gains
            ],
        )
    console.print(study.note, highlight=False)


def _name(number: int, best: int) -> str:
    known = {0: " (default)", 1: " (dissertation)"}.get(number, "")
    return f"{number}{known}{' (chosen)' * (number == best)}"
