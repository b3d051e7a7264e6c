"""Whether a training fits into memory, told before an epoch is spent on finding out."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from bcd.errors import BcdError

if TYPE_CHECKING:
    from keras import Model

OVERHEAD = 3
"""What a step holds of every layer's output: the output, its gradient, and what the backend works with."""

SLOTS = 6
"""Copies of the weights: live, gradient, two moments, average and best."""


def _estimate_step_bytes(network: Model, batch: int) -> int:
    """Estimates the bytes that a training step holds at its peak, in single precision."""
    outputs = int(sum(prod(layer.output.shape[1:]) for layer in network.layers))
    return 4 * (OVERHEAD * outputs * batch + SLOTS * int(network.count_params()))


def require_training_memory(network: Model, batch: int) -> None:
    """Refuses a training that would not fit into what is free of the host's memory.

    A GPU's own memory is not asked: its backend says itself, at the first step, how much was missing.

    Args:
        network: What is to be trained.
        batch: Patches a step.

    Raises:
        BcdError: With what is needed and what is free.
    """
    import psutil

    from bcd.networks.backend import has_gpu

    needed = 0 if has_gpu() else _estimate_step_bytes(network, batch)
    free = psutil.virtual_memory().available
    if needed > free:
        raise BcdError(
            f"Training would need about {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free.",
            f"Use smaller steps than batch_size = {batch}, or a smaller architecture.",
        )
