"""What training keeps in its folder, each file whole: what it was asked, how far it is, and what came out.

`inputs.json` names what is trained, `checkpoint.npz` is the state after the last finished epoch,
`network.keras` the best network and `training.json` the record that says that it is finished.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError
from bcd.files import whole_file

Weights = list[NDArray[Any]]


@dataclass
class State:
    """The state of a training after a finished epoch.

    Attributes:
        weights: The network's weights, the normalisation's statistics included.
        optimizer: The optimiser's variables, averaged weights included.
        best: The weights to be kept: the averaged ones of the epoch with the highest val AUROC.
        history: A row of figures for every finished epoch.
    """

    weights: Weights = field(default_factory=list)
    optimizer: Weights = field(default_factory=list)
    best: Weights = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Writes the state as one file."""
        arrays: dict[str, Any] = {f"weights-{i}": array for i, array in enumerate(self.weights)}
        arrays |= {f"optimizer-{i}": array for i, array in enumerate(self.optimizer)}
        arrays |= {f"best-{i}": array for i, array in enumerate(self.best)}
        with whole_file(path) as partial:
            np.savez(partial, history=np.array(json.dumps(self.history)), **arrays)

    @classmethod
    def load(cls, path: Path) -> State:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            count = {
                name: sum(key.startswith(f"{name}-") for key in file) for name in ("weights", "optimizer", "best")
            }
            weights, optimizer, best = ([file[f"{name}-{i}"] for i in range(n)] for name, n in count.items())
            return cls(weights, optimizer, best, json.loads(str(file["history"])))


def claim_folder(folder: Path, inputs: dict[str, Any]) -> None:
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
