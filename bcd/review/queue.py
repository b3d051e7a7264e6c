"""The queue: which patches without a label a person should look at next, by what the champion's scores say of them.

A patch's value is the sum of what speaks for it, each from 0 to 1:

| column | what it is |
| --- | --- |
| `uncertainty` | twice the smaller of p and 1 - p, where p is the calibrated probability of IDC |
| `disagreement` | twice the standard deviation of the probability over networks and turns; 0 where there is one |
| `contrast` | how far p is from the mean probability of the neighbours; on complete slides only, else 0 |

Patches are taken by value, one after the other. What a patient's next patch is worth is divided by one more than were
taken of the patient already, and patches nearer than `APART` on a slide are passed over.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np

from bcd.evaluation.policy.neighbours import find_neighbours, mean_neighbour
from bcd.patches import PATCH_PIXELS, SLIDE, patient_keys
from bcd.scoring.result import SPREAD

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

APART = 3
"""Least distance of two patches of the queue on a slide, in patches (600 µm), along x or y."""

WHY = {
    "uncertainty": "the model is uncertain",
    "disagreement": "its networks or turns disagree",
    "contrast": "it differs from its neighbours",
}
"""What makes up a patch's value, and in words."""


def value_patches(scores: pd.DataFrame) -> pd.DataFrame:
    """Says of each patch what speaks for asking about it.

    Args:
        scores: hospital, patient, slide, x, y, probability, spread (NaN where there is none), and `complete`: whether
            all patches of its slide are there. All scored patches, also those that have a label.

    Returns:
        The scores with uncertainty, disagreement, contrast, and their sum `value`.
    """
    probability = scores["probability"].to_numpy(np.float64)
    contrast = np.zeros(len(scores))
    complete = scores["complete"].to_numpy(bool)
    mean = mean_neighbour(find_neighbours(scores[complete], probability[complete]))
    contrast[complete] = np.nan_to_num(np.abs(probability[complete] - mean))
    parts = {
        "uncertainty": 2 * np.minimum(probability, 1 - probability),
        "disagreement": np.minimum(2 * np.nan_to_num(scores[SPREAD].to_numpy(np.float64)), 1.0),
        "contrast": contrast,
    }
    return scores.assign(**parts, value=sum(parts.values()))


def pick_patches(candidates: pd.DataFrame, budget: int) -> NDArray[np.int64]:
    """Picks patches of high value that lie apart and are spread over patients.

    Args:
        candidates: hospital, patient, slide, x, y and value, in an order that breaks ties.
        budget: Number of patches; fewer are picked where no other lies apart from these.

    Returns:
        Rows of `candidates` (from 0), in the order in which they were picked.
    """
    value = candidates["value"].to_numpy(np.float64)
    patient = patient_keys(candidates).factorize()[0]
    slide = candidates.groupby(SLIDE, sort=False, observed=True).ngroup().to_numpy(np.int64)
    column, row = ((candidates[name].to_numpy(np.int64) - 1) // PATCH_PIXELS for name in ("x", "y"))
    places = list(zip(slide.tolist(), column.tolist(), row.tolist(), strict=True))
    waiting: dict[int, list[int]] = {}  # of each patient, the next one last
    for at in np.argsort(-value, kind="stable")[::-1].tolist():
        waiting.setdefault(int(patient[at]), []).append(at)
    taken = dict.fromkeys(waiting, 0)
    near: set[tuple[int, int, int]] = set()
    picked: list[int] = []

    def offer(one: int) -> tuple[float, int, int] | None:
        """Returns the patient's next patch by what it is worth, as the heap sorts it."""
        mine = waiting[one]
        while mine and places[mine[-1]] in near:
            mine.pop()
        return (-value[mine[-1]] / (1 + taken[one]), mine[-1], one) if mine else None

    heap = [found for found in map(offer, waiting) if found]
    heapq.heapify(heap)
    while heap and len(picked) < budget:
        _, at, one = heapq.heappop(heap)
        picked.append(at)
        taken[one] += 1
        on, left, top = places[at]
        reach = range(1 - APART, APART)
        near.update((on, left + right, top + down) for right in reach for down in reach)
        if found := offer(one):
            heapq.heappush(heap, found)
    return np.array(picked, np.int64)


def tell_why(picked: pd.DataFrame) -> list[str]:
    """Says of each patch in words what most of its value comes from."""
    parts = list(WHY)
    return [WHY[parts[at]] for at in picked[parts].to_numpy(np.float64).argmax(axis=1)]
