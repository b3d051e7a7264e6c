"""Prediction: one logit a patch, whatever the batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bcd.errors import BcdError
from bcd.networks.architecture import Architecture
from bcd.networks.build import build_network
from bcd.training.predict import load_network, predict_logits


def test_logits_do_not_depend_on_the_batches(tiny: Architecture, tmp_path: Path) -> None:
    network = build_network(tiny, seed=1)
    np.save(tmp_path / "pixels.npy", np.random.default_rng(0).integers(0, 256, (11, 50, 50, 3), dtype=np.uint8))
    pixels = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    whole = predict_logits(network, pixels)
    assert whole.shape == (11,)
    assert whole.dtype == np.float32
    for batch_size in (1, 4, 11):
        np.testing.assert_allclose(predict_logits(network, pixels, batch_size), whole, rtol=1e-5, atol=1e-5)


def test_no_patches_have_no_logits(tiny: Architecture) -> None:
    assert predict_logits(build_network(tiny), np.empty((0, 50, 50, 3), np.uint8)).shape == (0,)


def test_a_file_that_is_no_network_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "network.keras").write_text("not a network")
    for name in ("network.keras", "absent.keras"):
        with pytest.raises(BcdError, match=f"{name} holds no network"):
            load_network(tmp_path / name)
