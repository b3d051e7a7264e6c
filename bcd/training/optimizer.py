"""AdamW on a cosine schedule with warm-up, which clips gradients and remembers how large they were.

The norm is taken where the optimiser is handed the gradients, since that place is the same on every backend. It takes
Keras at import, so import this module inside the function that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.networks.backend import keras
from bcd.networks.devices import sum_device_gradients
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    from keras import KerasTensor, Variable
    from keras.optimizers.schedules import LearningRateSchedule

ops = keras.ops


class ClippingAdamW(keras.optimizers.AdamW):  # type: ignore[misc]  # Keras is untyped
    """AdamW (Loshchilov & Hutter 2019) that clips by the norm of all gradients together and keeps count of the norms.

    Args:
        learning_rate: A schedule or a number.
        weight_decay: Decoupled decay of weights.
        clip: Largest norm of a step's gradient.
    """

    def __init__(self, learning_rate: LearningRateSchedule | float, weight_decay: float, clip: float) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self._clip = clip

    def build(self, variables: list[Variable]) -> None:
        """Makes the state for variables to be trained."""
        if self.built:
            return
        # Their sum and their number, the same on every device.
        self.norms = self.add_variable((2,), dtype="float32", aggregation="only_first_replica", name="gradient_norms")
        super().build(variables)

    def apply(self, grads: list[KerasTensor], trainable_variables: list[Variable] | None = None) -> None:
        """Takes a step along gradients, which may be larger than it is allowed to be."""
        grads, devices = sum_device_gradients(grads)
        norm = ops.sqrt(sum(ops.sum(ops.square(ops.cast(grad, "float32"))) for grad in grads))
        scale = ops.minimum(1.0, self._clip / (norm + 1e-12)) / devices
        self.norms.assign_add(ops.stack([norm, ops.ones_like(norm)]))
        super().apply([grad * ops.cast(scale, grad.dtype) for grad in grads], trainable_variables)

    def pop_gradient_norm(self) -> float:
        """Returns the mean norm of the gradients before clipping since the last call."""
        total, number = (float(value) for value in self.norms.numpy())
        self.norms.assign(ops.zeros((2,)))
        return total / max(number, 1.0)


def make_training_optimizer(options: TrainOptions, steps: int) -> ClippingAdamW:
    """Makes the optimiser of a training.

    The learning rate rises from a tenth of its peak over the warm-up and falls along a cosine (Loshchilov & Hutter
    2017) to a hundredth.

    Args:
        options: Rates and limits.
        steps: Steps of the whole training.
    """
    warmup = min(int(options.warmup * steps), steps - 1)
    peak = options.learning_rate
    schedule = keras.optimizers.schedules.CosineDecay(
        peak / 10 if warmup else peak,
        decay_steps=steps - warmup,
        alpha=0.01,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )
    return ClippingAdamW(schedule, options.weight_decay, options.clip)
