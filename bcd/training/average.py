"""The exponential moving average of a network's weights (Polyak & Juditsky 1992), normalisation statistics included.

It is taken outside the optimiser, every few steps: on every backend alike, and over everything that the network
needs to predict. Averaged weights with the statistics of the latest ones would be a network that nobody trained.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from keras import Model

SAMPLES = 16
"""How often the weights are looked at while the average forgets to 1/e."""


class WeightAverage:
    """The average of the weights of the last steps.

    Args:
        horizon: Steps after which weights count 1/e of the latest; 0: nothing is averaged.

    Attributes:
        weights: The average; empty before the first look, and where nothing is averaged.
        looks: How many looks it is made of.
    """

    def __init__(self, horizon: float) -> None:
        self._every = max(1, round(horizon / SAMPLES)) if horizon > 0 else 0
        self._keep = math.exp(-self._every / horizon) if horizon > 0 else 0.0
        self.weights: list[NDArray[Any]] = []
        self.looks = 0

    def take(self, step: int, network: Model) -> None:
        """Looks at the network after a step, counted from 1 over the whole training, where it is due."""
        if self._every and step % self._every == 0:
            self._blend([np.array(weight) for weight in network.get_weights()])

    def _blend(self, latest: list[NDArray[Any]]) -> None:
        # Early looks count more, or the initial weights would stay in the average for long.
        keep = min(self._keep, self.looks / (self.looks + 9))
        self.looks += 1
        if not self.weights:
            self.weights = latest
            return
        pairs = zip(self.weights, latest, strict=True)
        self.weights = [np.asarray(keep * mean + (1 - keep) * weight, weight.dtype) for mean, weight in pairs]
