"""`bcd train`: one network, or an ensemble, trained and logged; nothing is registered and no test patient is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcd.cli.completion import complete_snapshot
from bcd.cli.options import AsJson

if TYPE_CHECKING:
    from bcd.training.options import TrainOptions


def train_command(
    *,
    plan: Annotated[
        str, typer.Option(help="A plan's id, or its beginning. By default the last search's plan, or a new one.")
    ] = "",
    snapshot: Annotated[
        str,
        typer.Option(
            help="A snapshot's id, or its beginning. By default the last search's, or all that is admitted.",
            autocompletion=complete_snapshot,
        ),
    ] = "",
    architecture: Annotated[
        str,
        typer.Option(help="A preset's name, or a TOML or JSON file. By default what the search chose, or compact."),
    ] = "",
    epochs: Annotated[int | None, typer.Option(min=1, help="How many epochs.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The seed of weights, order and augmentation.")] = None,
    members: Annotated[int | None, typer.Option(min=1, help="How many networks answer together.")] = None,
    differ_by: Annotated[
        str | None, typer.Option(help="What the members differ by: seeds, or folds of patients.")
    ] = None,
    turns: Annotated[int | None, typer.Option(help="How many turns of a patch an answer averages: 1 or 8.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train what the last search chose; options make a new plan. After an interruption the same command goes on."""
    from bcd.cli.tables import print_trained
    from bcd.cli.terminal import open_terminal
    from bcd.errors import BcdError
    from bcd.networks.files import load_architecture
    from bcd.settings import load_settings
    from bcd.training.options import EnsembleOptions, TrainOptions

    settings = load_settings()
    asked = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed}
    several = {"members": members, "by": differ_by, "turns": turns}
    is_changed = bool(architecture) or any(value is not None for value in (*asked.values(), *several.values()))
    if plan and (is_changed or snapshot):
        raise BcdError("A plan says all that is trained.", "Leave --plan out, or the other options.")
    named = load_architecture(architecture) if architecture else None
    ensemble = settings.options("ensemble", EnsembleOptions, **several)
    training = settings.options("training", TrainOptions, **asked)  # a fault is told before anything is frozen
    with open_terminal(settings, runs_flows=True, as_json=as_json) as console:
        from bcd.retraining.plan import find_searched, read_choice
        from flows.preprocess import preprocess
        from flows.train import train

        searched = None if plan else find_searched(settings, snapshot)
        if searched is not None and not is_changed:
            plan = searched.key
        elif not plan:
            choice = None if searched is None or named else read_choice(settings, searched)
            plan = preprocess(
                searched.snapshot.id if searched else snapshot,
                training=change(choice.training, asked) if choice else training,
                ensemble=ensemble,
                preparation=choice and choice.preparation,
                architecture=named or (choice and choice.architecture),
            )
        print_trained(console, train(plan))


def change(training: TrainOptions, asked: Mapping[str, Any]) -> TrainOptions:
    """Returns options of training with those that were asked for."""
    return training.model_copy(update={name: value for name, value in asked.items() if value is not None})
