"""What a network costs: parameters, operations of one patch, and time on this device."""

from __future__ import annotations

import os
import platform
import re
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    from keras import Model

_RUNS, _SECONDS = (5, 50), 1.0  # at least and at most so many runs, and no more once they took so long


@dataclass(frozen=True)
class LayerCost:
    """What one layer of a network costs.

    Attributes:
        name: Its name in the network.
        kind: Keras' name of what it is.
        shape: What it gives for one patch, (height, width, channels) or (width,).
        parameters: Weights, the normalisation's statistics included.
        multiply_adds: Multiply-add operations of one patch; of convolutions and dense layers only.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: Weights, the normalisation's statistics included.
        multiply_adds: Multiply-add operations of one patch's logit, in convolutions and dense layers.
    """

    parameters: int
    multiply_adds: int

    @property
    def flops(self) -> int:
        """Floating-point operations of one patch's logit: two a multiply-add."""
        return 2 * self.multiply_adds


@dataclass(frozen=True)
class Latency:
    """How long a network takes for a batch of patches that are in memory.

    Attributes:
        batch_size: Patches at a time.
        milliseconds: Median time of a batch, the way to the device and back included.
    """

    batch_size: int
    milliseconds: float

    @property
    def patches_per_second(self) -> float:
        """Patches in a second of such batches."""
        return 1000 * self.batch_size / self.milliseconds


def measure_network_layers(network: Model) -> list[LayerCost]:
    """Counts the parameters and the multiply-adds of every layer of a built network, first to last."""
    costs = []
    for layer in network.layers:
        shape = tuple(layer.output.shape[1:])
        # Every weight of a kernel is used once a position; a dense layer has one position.
        multiply_adds = prod(shape[:-1]) * prod(layer.kernel.shape) if hasattr(layer, "kernel") else 0
        costs.append(
            LayerCost(layer.name, type(layer).__name__, shape, int(layer.count_params()), int(multiply_adds))
        )
    return costs


def measure_network_cost(network: Model) -> Cost:
    """Counts a built network's parameters and the multiply-adds of one patch."""
    layers = measure_network_layers(network)
    return Cost(sum(layer.parameters for layer in layers), sum(layer.multiply_adds for layer in layers))


def measure_network_latency(network: Model, batch_size: int) -> Latency:
    """Measures how long a network takes for a batch: the median of several runs, after two to warm up."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size, PATCH_PIXELS, PATCH_PIXELS, 3), dtype=np.uint8)
    least, most = _RUNS
    seconds: list[float] = []
    for _ in range(2):
        network.predict_on_batch(pixels)
    while len(seconds) < least or (len(seconds) < most and sum(seconds) < _SECONDS):
        started = time.perf_counter()
        network.predict_on_batch(pixels)
        seconds.append(time.perf_counter() - started)
    return Latency(batch_size, 1000 * float(np.median(seconds)))


def name_device() -> str:
    """Names the device that Keras computes on, such as "gpu:0, NVIDIA H100" or "cpu, 2 cores of AMD EPYC"."""
    from bcd.networks.backend import keras

    accelerators = [device for device in keras.distribution.list_devices() if not device.startswith("cpu")]
    if not accelerators:
        cores = len(os.sched_getaffinity(0))
        model = _read_field(Path("/proc/cpuinfo"), "model name") or platform.machine()
        return f"cpu, {cores} core{'s' * (cores > 1)} of {model}"
    models = (_read_field(path, "Model") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")))
    return ", ".join([accelerators[0], *filter(None, [next(models, "")])])


def _read_field(path: Path, name: str) -> str:
    """Reads what Linux says of a device, as `name: value`; empty where it says nothing."""
    try:
        found = re.search(rf"^{name}\s*:\s*(.+?)\s*$", path.read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1) if found else ""
