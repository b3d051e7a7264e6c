"""Training: patches a second of a real epoch, beside its own limit and beside what people write.

The limit is the same compiled step on one batch that lies on the device already: no data, no averaging, no
figures. Beside it stand the same step in mixed precision, and what the machine can do at most: a large convolution
through the same library, in either precision. The epoch is what a training runs: gathered batches, augmentation,
norms, averaged weights, progress. What people write is `image_dataset_from_directory` on PNG files with Keras'
augmentation layers and `fit`. All take turns, with the same network and batch.

    .venv/bin/python benchmarks/training.py                       # ratios; --turns, --patches, --architecture
    .venv/bin/python benchmarks/training.py --memory 277524       # host memory of training on so many patches
    KERAS_BACKEND=jax .venv/bin/python benchmarks/training.py     # the same through JAX, without the peer
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from snapshots import watch_memory

from bcd.networks.architecture import PRESETS
from bcd.training.data import Material
from bcd.training.loop import Training
from bcd.training.options import TrainOptions

LIMIT_GIB = 6.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=4096, help="patches of an epoch (default 4,096)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--architecture", choices=tuple(PRESETS), default="compact")
    parser.add_argument("--memory", type=int, metavar="N", help="measure the memory of training on N patches instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bcd-benchmark-") as folder:
        if arguments.memory:
            measure_memory(Path(folder), arguments.memory)
        else:
            measure_speed(Path(folder), arguments)


def measure_speed(folder: Path, arguments: argparse.Namespace) -> None:
    """Prints patches a second of limit, epoch and peer, and their ratios turn by turn."""
    from bcd.networks.backend import has_gpu, keras
    from bcd.networks.cost import measure_network_cost, name_device

    material = make_material(folder, arguments.patches, val=256)
    options = TrainOptions(epochs=1000, batch_size=arguments.batch)
    training = Training(material, PRESETS[arguments.architecture], options, folder / "single")
    mixed = options.model_copy(update={"precision": "mixed"})
    half = Training(material, PRESETS[arguments.architecture], mixed, folder / "mixed")
    ways: dict[str, Callable[[], float]] = {
        "limit": lambda: run_limit(training),
        "limit, mixed precision": lambda: run_limit(half),
        "epoch": lambda: run_epoch(training),
    }
    if keras.backend.backend() == "tensorflow":
        peer = make_peer(folder / "png", material, arguments)
        ways["image_dataset_from_directory"] = lambda: peer(arguments.patches)
    for way in ways.values():
        way()  # compiles
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.turns):
        for name, way in ways.items():
            speeds[name].append(way())
    print(f"{arguments.architecture} on {name_device()}, {keras.backend.backend()}, batches of {arguments.batch}")
    for name, taken in speeds.items():
        ratios = np.array(taken) / np.array(speeds["limit"])
        print(
            f"  {name:30s} {np.median(taken):8,.0f} patches/s   {np.median(ratios):.2f} of the limit"
            f" ({ratios.min():.2f} to {ratios.max():.2f})"
        )
    flops = 6 * measure_network_cost(training.network).multiply_adds / 1e9
    for name, precision in (("epoch", "float32"), ("limit, mixed precision", "bfloat16")):
        reached, peak = flops * float(np.median(speeds[name])), measure_peak(precision)
        print(
            f"  {name}: {reached:,.0f} GFLOP/s (2 a multiply-add; backward twice the forward),"
            f" {reached / peak:.2f} of a large convolution's {peak:,.0f} in {precision}"
        )
    if not has_gpu():
        print("  on a GPU: not measured")


def run_limit(training: Training) -> float:
    """Returns patches a second of the compiled step on one batch."""
    from bcd.networks.backend import keras

    patches, labels, _ = training._gather(np.arange(training.batch))
    patches, labels = keras.ops.convert_to_tensor(patches), keras.ops.convert_to_tensor(labels)
    started = time.perf_counter()
    for _ in range(training.steps):
        training.learner.train_on_batch(patches, labels)
    return training.steps * training.batch / (time.perf_counter() - started)


def measure_peak(precision: str) -> float:
    """Returns the GFLOP/s of a convolution of 128 to 128 channels, the best of five."""
    from bcd.networks.backend import keras

    draw = np.random.default_rng(0)
    patches = keras.ops.cast(draw.random((64, 25, 25, 128), np.float32), precision)
    kernel = keras.ops.cast(draw.random((3, 3, 128, 128), np.float32), precision)
    keras.ops.convert_to_numpy(keras.ops.conv(patches, kernel, padding="same")[0, 0, 0])
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(20):
            found = keras.ops.conv(patches, kernel, padding="same")
        keras.ops.convert_to_numpy(found[0, 0, 0])  # a device may still be at work
        taken.append(time.perf_counter() - started)
    return 20 * 2 * 64 * 25 * 25 * 9 * 128 * 128 / min(taken) / 1e9


def run_epoch(training: Training) -> float:
    """Returns patches a second of an epoch's training; evaluating the val patients has its own time."""
    return training._epoch(len(training.state.history) + 1, lambda _amount: None)["patches_per_second"]


def make_peer(folder: Path, material: Material, arguments: argparse.Namespace) -> Callable[[int], float]:
    """Writes the patches as PNG files and returns what trains an epoch on them as people write it."""
    import cv2

    from bcd.networks.backend import keras
    from bcd.networks.build import build_network

    for number, (row, label) in enumerate(zip(material.rows, material.labels, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / str(label) / f"{number}.png"), material.pixels[row])
    dataset = keras.utils.image_dataset_from_directory(
        folder, label_mode="binary", image_size=(50, 50), batch_size=arguments.batch, verbose=False
    )
    augmented = [
        keras.layers.RandomFlip(),
        keras.layers.RandomRotation(0.25),
        keras.layers.RandomBrightness(0.05),
        keras.layers.RandomContrast(0.1),
    ]
    model = keras.Sequential([*augmented, build_network(PRESETS[arguments.architecture])])
    model.compile("adamw", keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])

    def run(patches: int) -> float:
        started = time.perf_counter()
        model.fit(dataset, epochs=1, verbose=0)
        return patches / (time.perf_counter() - started)

    return run


def measure_memory(folder: Path, n: int) -> None:
    """Prints the memory of gathering from N patches, training on a part of them and evaluating all val patches."""
    material = make_material(folder, n, val=n // 10)
    from bcd.networks.backend import keras

    keras.backend.backend()
    with watch_memory() as memory:
        training = Training(material, PRESETS["compact"], TrainOptions(epochs=1000), folder)
        training.steps = min(training.steps, 300)  # drawn from all patches; no batch needs more than another
        training._epoch(1, lambda _amount: None)
        training.state.save(folder / "checkpoint.npz")
    peak = max(memory) / 1024
    print(f"{n:,} patches: {memory[0]:,.0f} MB before, peak {max(memory):,.0f} MB of its own")
    print(f"  {peak / LIMIT_GIB:.2f} of the limit of {LIMIT_GIB:.0f} GiB")


def make_material(folder: Path, n: int, val: int) -> Material:
    """Makes patches of random pixels in a mapped file: their values change nothing about time or memory."""
    draw = np.random.default_rng(0)
    pixels: Any = np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, (n, 50, 50, 3))
    for start in range(0, n, 4096):
        pixels[start : start + 4096] = draw.integers(0, 256, pixels[start : start + 4096].shape, np.uint8)
    pixels.flush()
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    labels = np.arange(n) % 2
    return Material(
        pixels,
        np.arange(n),
        labels,
        np.arange(n) * 100 // n,
        np.arange(val),
        labels[:val],
        np.array([f"p{i % 20}" for i in range(val)], object),
    )


if __name__ == "__main__":
    main()
