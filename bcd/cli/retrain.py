"""`bcd retrain`: from the batches in the store to a challenger at the gate."""

from __future__ import annotations

from typing import Annotated

import typer

from bcd.cli.options import AsJson


def retrain_command(
    protocol: Annotated[
        str | None, typer.Option(help="The protocol that deals patients to splits. By default the one in bcd.toml.")
    ] = None,
    held_out: Annotated[
        str | None, typer.Option(help="The hospital whose patients are the test split, under leave-one-hospital-out.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many networks the search tries.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How many epochs the final training has.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Freeze a snapshot, search, train, evaluate, and let the gate decide. Without new data it ends at once."""
    from bcd.cli.tables import print_outcome
    from bcd.cli.terminal import open_terminal
    from bcd.search.options import SearchOptions
    from bcd.settings import load_settings
    from bcd.snapshots.splits import SplitOptions
    from bcd.training.options import TrainOptions

    settings = load_settings()
    splits = settings.options("splits", SplitOptions, protocol=protocol, held_out=held_out)
    search = settings.options("search", SearchOptions, trials=trials)
    training = settings.options("training", TrainOptions, epochs=epochs)
    with open_terminal(settings, runs_flows=True, as_json=as_json) as console:
        from flows.retrain import retrain

        outcome = retrain(splits=splits, search=search, training=training)
        print_outcome(console, outcome)
