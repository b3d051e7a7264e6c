"""Train patches on the device: sent there once, so that a step is sent nothing but the numbers of its patches.

It takes Keras at import, so import this module inside the function that needs it.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.networks.backend import has_gpu, keras

if TYPE_CHECKING:
    from keras import KerasTensor

SHARE = 0.4
"""Of a GPU's memory that patches may take; the rest is for the network and its steps."""


class ResidentPatches(keras.layers.Layer):  # type: ignore[misc]  # Keras is untyped
    """Looks patches up by their numbers.

    Args:
        pixels: Prepared patches (n, 50, 50, 3) uint8.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        super().__init__(name="resident", dtype="float32")
        self.pixels = self.add_weight(
            shape=pixels.shape,
            dtype="uint8",
            trainable=False,
            name="pixels",
            initializer=lambda shape, dtype: keras.ops.convert_to_tensor(pixels, dtype),  # noqa: ARG005
        )

    def call(self, numbers: KerasTensor) -> KerasTensor:
        """Returns the patches (batch, 50, 50, 3) of these numbers (batch,)."""
        return keras.ops.take(self.pixels, numbers, axis=0)


def fits_training_on_device(size: int) -> bool:
    """Whether patches of so many bytes should lie on the device; on a processor they lie in its memory anyway."""
    return has_gpu() and size <= SHARE * smallest_gpu_memory()


def smallest_gpu_memory() -> int:
    """Returns the bytes of the smallest GPU of this machine as its driver tells them; 0 where it tells none."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return min((int(line) << 20 for line in told.split() if line.isdigit()), default=0)
