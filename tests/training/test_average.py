"""The averaged weights: what they are made of, and how fast they forget."""

from __future__ import annotations

import numpy as np
import pytest

from bcd.training.average import SAMPLES, WeightAverage


class Network:
    """Weights that are the number of the step."""

    def __init__(self) -> None:
        self.step = 0.0

    def get_weights(self) -> list[np.ndarray]:
        return [np.full((2, 2), self.step, np.float32), np.array([-self.step], np.float32)]


def averaged(horizon: float, steps: int, start: int = 0, average: WeightAverage | None = None) -> WeightAverage:
    average, network = average or WeightAverage(horizon), Network()
    for step in range(start + 1, steps + 1):
        network.step = float(step)
        average.take(step, network)
    return average


def test_a_ramp_is_followed_at_the_horizons_distance() -> None:
    average = averaged(horizon=100, steps=2000)
    assert 2000 - average.weights[0][0, 0] == pytest.approx(100, abs=100 / SAMPLES)
    assert average.weights[1][0] == -average.weights[0][0, 0]


def test_early_weights_are_forgotten_faster_than_the_horizon() -> None:
    assert averaged(horizon=1000, steps=400).weights[0][0, 0] > 200


def test_without_a_horizon_nothing_is_averaged() -> None:
    assert averaged(horizon=0, steps=10).weights == []


def test_an_average_goes_on_where_it_was() -> None:
    half = averaged(horizon=40, steps=97)
    rest = WeightAverage(40)
    rest.weights, rest.looks = half.weights, half.looks
    averaged(40, 200, start=97, average=rest)
    np.testing.assert_array_equal(rest.weights[0], averaged(40, 200).weights[0])
