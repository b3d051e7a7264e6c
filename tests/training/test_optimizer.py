"""The optimiser: its schedule, its clipping, and the norms that it remembers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bcd.training.options import TrainOptions


def stepped(gradients: list[list[float]], clip: float) -> tuple[Any, Any]:
    """A variable of two values, and its optimiser after steps along these gradients."""
    from bcd.networks.backend import keras
    from bcd.training.optimizer import ClippingAdamW

    variable = keras.Variable(np.zeros(2, np.float32))
    optimizer = ClippingAdamW(0.1, 0.0, clip)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
    return variable, optimizer


def test_the_mean_norm_before_clipping_is_told_once() -> None:
    _, optimizer = stepped([[3.0, 4.0], [0.0, 1.0]], clip=0.1)
    assert optimizer.pop_gradient_norm() == pytest.approx(3.0)
    assert optimizer.pop_gradient_norm() == 0.0


def test_a_gradient_that_is_too_large_steps_as_the_clipped_one() -> None:
    clipped, _ = stepped([[1.0, 0.0], [30.0, 40.0]], clip=1.0)
    scaled, _ = stepped([[1.0, 0.0], [0.6, 0.8]], clip=100.0)
    free, _ = stepped([[1.0, 0.0], [30.0, 40.0]], clip=100.0)
    np.testing.assert_allclose(clipped.numpy(), scaled.numpy(), rtol=1e-5)
    assert np.abs(clipped.numpy() - free.numpy()).max() > 1e-3


@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_the_rate_warms_up_and_falls_along_a_cosine(warmup: float) -> None:
    from bcd.training.optimizer import make_training_optimizer

    optimizer = make_training_optimizer(TrainOptions(learning_rate=0.01, warmup=warmup), steps=100)
    rates = []
    for step in range(101):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    peak = round(100 * warmup)
    assert rates[peak] == max(rates) == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0.0001)
    assert rates[peak + (100 - peak) // 2] == pytest.approx(0.00505)  # halfway down
    assert rates[0] == pytest.approx(0.001 if warmup else 0.01)


def test_a_training_of_one_step_has_no_warm_up() -> None:
    from bcd.training.optimizer import make_training_optimizer

    assert float(make_training_optimizer(TrainOptions(learning_rate=0.01), steps=1).learning_rate) == pytest.approx(
        0.01
    )
