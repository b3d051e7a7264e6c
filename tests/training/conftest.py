"""A prepared snapshot that is easy to learn: a dark blob in the middle, or none."""

from __future__ import annotations

import os

import numpy as np
import pytest
from patients import in_snapshot, list_patches

from bcd.networks.architecture import Architecture, Head, Stage, Stem
from bcd.patches import SnapshotId
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.snapshots.freeze import Snapshot
from bcd.training.options import TrainOptions


def pytest_report_header() -> str:
    """Says on which backend this run is: tests here run others in a process on another one."""
    return f"keras backend: {os.environ['KERAS_BACKEND']}"


@pytest.fixture(scope="session")
def prepared() -> PreparedSnapshot:
    """240 patches of 24 patients: 14 train, 5 val, 5 gate."""
    splits = {str(patient): "train" if patient < 14 else "val" if patient < 19 else "gate" for patient in range(24)}
    patches = in_snapshot(list_patches(splits, [0, 1] * 5, slide="1"))
    pixels = np.random.default_rng(0).integers(120, 256, (240, 50, 50, 3), dtype=np.uint8)
    pixels[patches["label"] == 1, 15:35, 15:35] //= 3
    return PreparedSnapshot(Snapshot(SnapshotId("a" * 64), "dealt", patches), PrepareOptions(), pixels)


@pytest.fixture(scope="session")
def tiny() -> Architecture:
    """A network that trains in a second, with dropout, so that its random state matters."""
    return Architecture(
        stem=Stem(filters=6, stride=3), stages=[Stage(filters=8, depth=1, dropout=0.1)], head=Head(dropout=0.1)
    )


@pytest.fixture(scope="session")
def options() -> TrainOptions:
    """Three short epochs."""
    return TrainOptions(epochs=3, batch_size=16, learning_rate=0.01)
