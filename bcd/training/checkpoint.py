"""What training keeps in its folder, each file whole: what it was asked, how far it is, and what came out.

`inputs.json` names what is trained, `checkpoint.npz` is the state after the last finished epoch,
`network.keras` the best network and `training.json` the record that says that it is finished.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError, DamagedError
from bcd.files import whole_file

Weights = list[NDArray[Any]]


@dataclass
class State:
    """The state of a training after a finished epoch.

    Attributes:
        weights: The network's weights, the normalisation's statistics included.
        optimizer: The optimiser's variables.
        average: The averaged weights; empty where nothing is averaged.
        looks: How many looks at the weights the average is made of.
        best: The weights to be kept so far: of the best epoch, or of the last.
        history: A row of figures for every finished epoch.
    """

    weights: Weights = field(default_factory=list)
    optimizer: Weights = field(default_factory=list)
    average: Weights = field(default_factory=list)
    looks: int = 0
    best: Weights = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Writes the state as one file."""
        arrays = {f"{name}-{i}": array for name in _ARRAYS for i, array in enumerate(getattr(self, name))}
        told = json.dumps({"history": self.history, "looks": self.looks})
        with whole_file(path) as partial:
            np.savez(partial, told=np.array(told), allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> State:
        """Reads what `save` wrote.

        Raises:
            BcdError: It is no checkpoint of this version of bcd, or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                counts = {name: sum(key.startswith(f"{name}-") for key in file) for name in _ARRAYS}
                arrays: dict[str, Any] = {name: [file[f"{name}-{i}"] for i in range(n)] for name, n in counts.items()}
                told = json.loads(str(file["told"]))
                return cls(**arrays, history=told["history"], looks=told["looks"])
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DamagedError(
                f"{path} is no checkpoint that this version of bcd can go on from: {error}.",
                "Delete it to train anew.",
            ) from error


_ARRAYS = ("weights", "optimizer", "average", "best")


def claim_training_folder(folder: Path, inputs: dict[str, Any]) -> None:
    """Writes into a training's folder what it is for, or checks that it is for the same.

    Raises:
        BcdError: The folder belongs to a training of other inputs.
    """
    path = folder / "inputs.json"
    inputs = json.loads(json.dumps(inputs))
    if path.exists():
        kept = json.loads(path.read_text())
        other = sorted(key for key in inputs.keys() | kept.keys() if inputs.get(key) != kept.get(key))
        if other:
            raise BcdError(
                f"{folder} holds a training of another {' and another '.join(other)}.",
                "Choose another folder, or delete that one to train anew.",
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(json.dumps(inputs, indent=2, sort_keys=True))
