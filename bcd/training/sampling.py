"""Which patches an epoch sees, in which order, and what each weighs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def order_naturally(n: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Returns every patch once, in a random order (n,)."""
    return random.permutation(n)


def order_by_patients(patients: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Returns as many patches as there are, every patient equally often (n,), in a random order.

    A large patient shows a part of its patches in an epoch, a small one all of them several times.

    Args:
        patients: The patient's number of every patch (n,), from 0 without gaps.
        random: Draws.
    """
    n = len(patients)
    order = random.permutation(n)
    order = order[np.argsort(patients[order], kind="stable")]  # by patient, each one's patches in a random order
    sizes = np.bincount(patients)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    turn, place = np.divmod(np.arange(n), len(sizes))
    patient = np.argsort(random.random(len(sizes)))[place]  # who is drawn once more in the last turn is random too
    return random.permutation(order[starts[patient] + turn % sizes[patient]])


def weigh_classes(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns a weight for every patch (n,), mean 1, under which both classes weigh the same in sum."""
    counts = np.bincount(labels, minlength=2)
    return (len(labels) / (2.0 * counts))[labels].astype(np.float32)
