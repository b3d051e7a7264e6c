"""Ensembles: several networks of one architecture, trained on other seeds or other patients, that answer as one.

Their logits are averaged, and each may look at a patch in all its eight exact turns.

Examples:
    >>> from bcd.networks.architecture import PRESETS
    >>> describe_ensemble(PRESETS["compact"], EnsembleOptions(members=3, turns=8))
    'compact ×3 8 turns'
"""  # noqa: RUF002

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import BcdError
from bcd.networks.architecture import Architecture, describe_architecture
from bcd.progress import say_progress
from bcd.training.fit import TrainedNetwork, find_trained_network, train_network
from bcd.training.options import EnsembleOptions, TrainOptions

if TYPE_CHECKING:
    from bcd.preprocessing.prepared import PreparedSnapshot
    from bcd.training.loop import OnEpoch

OnMemberEpoch = Callable[[int, int, dict[str, float]], None]
"""Told of a member, from 1, an epoch of it, from 1, and that epoch's row of the history."""


@dataclass(frozen=True)
class TrainedEnsemble:
    """The finished trainings of an ensemble.

    Attributes:
        members: The networks, in order; at least one.
        options: How they differ and how they answer together.
    """

    members: list[TrainedNetwork]
    options: EnsembleOptions

    @property
    def paths(self) -> list[Path]:
        """The saved networks."""
        return [member.path for member in self.members]

    @property
    def architecture(self) -> Architecture:
        """What every member is."""
        return self.members[0].architecture

    @property
    def training(self) -> TrainOptions:
        """How the members were trained, without what each has of its own."""
        first = self.members[0].options
        return first.model_copy(update={"folds": 0, "fold": 0}) if self.options.by == "folds" else first

    @property
    def parameters(self) -> int:
        """Number of weights of all members."""
        return sum(member.parameters for member in self.members)


def train_ensemble(
    prepared: PreparedSnapshot,
    architecture: Architecture,
    options: TrainOptions,
    ensemble: EnsembleOptions,
    folder: Path,
    *,
    on_epoch: OnMemberEpoch | None = None,
) -> TrainedEnsemble:
    """Trains the members one after another, continues where it was killed, or returns finished ones.

    Args:
        prepared: The snapshot.
        architecture: What every member is.
        options: How each is trained; by seeds, the first has the seed named there and the others those after it.
        ensemble: How many, and in what they differ.
        folder: Where the files lie: a single network's here, those of several in a folder each.
        on_epoch: Called after every finished epoch; what it raises stops the training, which a later call continues.

    Raises:
        InsufficientEvidenceError: The train or val split has too few patients or one class only.
        DivergedError: The loss of a member is no longer finite.
        BcdError: Folds are asked for twice, or `folder` is of another training.
    """
    members = []
    for number in range(1, ensemble.members + 1):
        if ensemble.members > 1:
            say_progress(f"Network {number} of {ensemble.members}.")

        def report(epoch: int, row: dict[str, float], number: int = number) -> None:
            if on_epoch is not None:
                on_epoch(number, epoch, row)

        place = member_folder(folder, ensemble, number)
        members.append(
            train_ensemble_member(prepared, architecture, options, ensemble, number, place, on_epoch=report)
        )
        _forget_trained()
    return TrainedEnsemble(members, ensemble)


def train_ensemble_member(  # noqa: PLR0917 the order of these is that of `train_ensemble`
    prepared: PreparedSnapshot,
    architecture: Architecture,
    options: TrainOptions,
    ensemble: EnsembleOptions,
    number: int,
    folder: Path,
    *,
    on_epoch: OnEpoch | None = None,
) -> TrainedNetwork:
    """Trains one member, from 1, in a folder of its own; as `train_network` with what the member has of its own."""
    own = _member_options(options, ensemble)[number - 1]
    return train_network(prepared, architecture, own, folder, on_epoch=on_epoch)


def find_trained_ensemble(folder: Path, ensemble: EnsembleOptions) -> TrainedEnsemble | None:
    """Returns the finished ensemble of a folder; None where a member is missing."""
    numbers = range(1, ensemble.members + 1)
    found = [find_trained_network(member_folder(folder, ensemble, number)) for number in numbers]
    members = [member for member in found if member is not None]
    return TrainedEnsemble(members, ensemble) if len(members) == ensemble.members else None


def describe_ensemble(architecture: Architecture, ensemble: EnsembleOptions) -> str:
    """Says in short what answers: the architecture, how many of it where several, and the turns where eight."""
    words = [describe_architecture(architecture)]
    words += [f"×{ensemble.members}"] if ensemble.members > 1 else []  # noqa: RUF001
    words += ["by folds"] if ensemble.by == "folds" else []
    words += [f"{ensemble.turns} turns"] if ensemble.turns > 1 else []
    return " ".join(words)


def _member_options(options: TrainOptions, ensemble: EnsembleOptions) -> list[TrainOptions]:
    if ensemble.by == "folds" and options.folds:
        raise BcdError(
            f"The training leaves out fold {options.fold} of {options.folds}, and an ensemble by folds each in turn.",
            "Use `folds = 0` of the training, or members by seeds.",
        )
    own = [
        {"seed": options.seed + number} if ensemble.by == "seeds" else {"folds": ensemble.members, "fold": number}
        for number in range(ensemble.members)
    ]
    return [TrainOptions.model_validate(options.model_dump() | each) for each in own]


def member_folder(folder: Path, ensemble: EnsembleOptions, number: int) -> Path:
    """Returns where a member, from 1, lies in the folder of its ensemble."""
    return folder if ensemble.members == 1 else folder / f"member-{number}"


def _forget_trained() -> None:
    """Lets go of what was trained, so that memory does not grow with the number of members."""
    from bcd.networks.backend import keras

    keras.utils.clear_session()
