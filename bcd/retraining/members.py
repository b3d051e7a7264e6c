"""The networks of an ensemble, each trained by whichever machine takes it, and brought together through the store.

    work/PLAN/members/N    the training of the Nth network, whole once it is finished

Examples:
        train_member(settings, retraining, 2)  # on one machine
        collect_members(settings, retraining)  # on the one that makes the ensemble of them
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import BcdError
from bcd.files import whole_folder
from bcd.retraining.plan import Retraining, read_choice
from bcd.settings import Settings
from bcd.store.objects import in_use, put, read_stored, remove, require
from bcd.training.ensemble import member_folder, train_ensemble_member
from bcd.training.fit import RECORD, find_trained_network

if TYPE_CHECKING:
    from bcd.training.fit import TrainedNetwork


def train_member(settings: Settings, retraining: Retraining, number: int) -> TrainedNetwork:
    """Trains one network of an ensemble, goes on with it where it was killed here, or finds it trained.

    Args:
        settings: Where everything lies.
        retraining: Whose ensemble it is.
        number: Which network, from 1.

    Raises:
        BcdError: The ensemble has no such network, or it cannot be trained.
    """
    members = retraining.plan.ensemble.members
    if not 1 <= number <= members:
        raise BcdError(f"Plan {retraining.key} has {members} networks, and none of number {number}.", "Name another.")
    place = _find_place(settings, retraining, number)
    require(settings, place)
    choice = read_choice(settings, retraining)
    with in_use(settings, place):
        trained = train_ensemble_member(
            retraining.prepare(settings),
            choice.architecture,
            choice.training,
            retraining.plan.ensemble,
            number,
            place,
        )
        put(settings, place)
    return trained


def list_missing_members(settings: Settings, retraining: Retraining) -> list[int]:
    """Lists the networks of an ensemble, from 1, whose finished training is neither here nor in the store."""
    numbers = range(1, retraining.plan.ensemble.members + 1)
    return [number for number in numbers if not _is_finished(settings, retraining, number)]


def collect_members(settings: Settings, retraining: Retraining) -> None:
    """Lays the finished networks where the ensemble is made of them, as if they had been trained there."""
    ensemble = retraining.plan.ensemble
    for number in range(1, ensemble.members + 1):
        place = _find_place(settings, retraining, number)
        to = member_folder(retraining.network(settings), ensemble, number)
        if find_trained_network(to) is not None:
            continue
        shutil.rmtree(to, ignore_errors=True)  # begun here, and finished elsewhere
        require(settings, place)
        with in_use(settings, place), whole_folder(to) as partial:
            shutil.copytree(place, partial, dirs_exist_ok=True)


def remove_members(settings: Settings, retraining: Retraining) -> None:
    """Removes what `train_member` left, once the ensemble lies in the store."""
    for number in range(1, retraining.plan.ensemble.members + 1):
        remove(settings, _find_place(settings, retraining, number))


def _find_place(settings: Settings, retraining: Retraining, number: int) -> Path:
    return retraining.folder(settings) / "members" / str(number)


def _is_finished(settings: Settings, retraining: Retraining, number: int) -> bool:
    try:
        read_stored(settings, _find_place(settings, retraining, number), RECORD)
    except FileNotFoundError:
        return (
            find_trained_network(member_folder(retraining.network(settings), retraining.plan.ensemble, number))
            is not None
        )
    return True
