"""`bcd train`: one network, or an ensemble, trained and logged; nothing is registered and no test patient is read."""

from __future__ import annotations

from typing import Annotated

import typer


def train(
    *,
    snapshot: Annotated[
        str, typer.Option(help="Id of the snapshot, or its beginning; none: all that is admitted.")
    ] = "",
    architecture: Annotated[
        str, typer.Option(help="A preset's name or a TOML or JSON file; none: what the search chose, or compact.")
    ] = "",
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and augmentation.")] = None,
    members: Annotated[int | None, typer.Option(min=1, help="Networks that answer together.")] = None,
    by: Annotated[str | None, typer.Option(help="How they differ: seeds or folds of patients.")] = None,
    views: Annotated[int | None, typer.Option(help="Views averaged for an answer: 1 or 8.")] = None,
) -> None:
    """Train on train patients; val patients choose the epoch. Interrupted: the same command goes on."""
    from bcd.cli.terminal import at_work
    from bcd.cli.views import show_trained
    from bcd.networks.files import load_architecture
    from bcd.settings import load_settings
    from bcd.training.options import EnsembleOptions, TrainOptions

    settings = load_settings()
    named = load_architecture(architecture) if architecture else None
    training = settings.options("training", TrainOptions, epochs=epochs, learning_rate=learning_rate, seed=seed)
    ensemble = settings.options("ensemble", EnsembleOptions, members=members, by=by, views=views)
    with at_work(settings) as console:
        from flows.train import train as train_flow

        trained = train_flow(snapshot=snapshot, training=training, ensemble=ensemble, architecture=named)
        show_trained(console, trained)
