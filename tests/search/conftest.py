"""A home, and a prepared snapshot that is easy to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.patches import SnapshotId
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.settings import Settings
from bcd.store.snapshots import Snapshot


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An empty home."""
    return Settings(home=tmp_path / "home")


@pytest.fixture(scope="session")
def prepared() -> PreparedSnapshot:
    """128 patches of 32 patients: 20 train, 6 val, 6 gate; those of label 1 are darker."""
    labels = np.tile([0, 1], 64).astype(np.int8)
    pixels = np.random.default_rng(0).integers(100, 256, (128, 50, 50, 3), dtype=np.uint8)
    pixels[labels == 1] //= 2
    splits = ["train"] * 20 + ["val"] * 6 + ["gate"] * 6
    patches = pd.DataFrame(
        {
            "hospital": "east",
            "patient": [str(i // 4) for i in range(128)],
            "label": labels,
            "split": [splits[i // 4] for i in range(128)],
            "batch": "b",
            "row": range(128),
            "pixel_sha256": [str(i) for i in range(128)],
        }
    )
    return PreparedSnapshot(Snapshot(SnapshotId("a" * 64), "dealt", patches), PrepareOptions(), pixels)
