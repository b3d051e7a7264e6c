"""Prediction: one logit a patch, whatever the batches; the mean of networks and turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from bcd.networks.architecture import Architecture
from bcd.networks.build import build_network
from bcd.preprocessing.prepared import PatchRows
from bcd.training.options import Turns
from bcd.training.predict import predict_logits, turn_patches


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


class WatchedPixels:
    """Mapped patches that say how many were read at a time."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.read: list[int] = []

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.read.append(len(rows))
        return self.pixels[rows]


def test_rows_of_mapped_patches_are_read_a_batch_at_a_time(tiny: Architecture) -> None:
    network = build_network(tiny, seed=1)
    pixels = np.random.default_rng(0).integers(0, 256, (11, 50, 50, 3), dtype=np.uint8)
    watched, rows = WatchedPixels(pixels), np.array([7, 2, 9, 4, 0])

    logits = predict_logits(network, PatchRows(cast("Any", watched), rows), batch_size=2)

    np.testing.assert_allclose(logits, predict_logits(network, pixels[rows]), rtol=1e-5, atol=1e-5)
    assert watched.read == [2, 2, 1]


TURNS = [(transpose, upside_down, mirrored) for transpose in (0, 1) for upside_down in (0, 1) for mirrored in (0, 1)]


@pytest.fixture(scope="module")
def networks(tiny: Architecture) -> list[Any]:
    return [build_network(tiny, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (7, 50, 50, 3), dtype=np.uint8)


def turned(pixels: np.ndarray, choices: tuple[int, int, int]) -> np.ndarray:
    from bcd.networks.augmentation import turn

    return np.asarray(turn(pixels, *(np.full(len(pixels), bool(choice)) for choice in choices)))


def test_the_eight_turns_are_the_eight_turns_of_the_augmentation(pixels: np.ndarray) -> None:
    turns = list(turn_patches(pixels))
    assert len({turn.tobytes() for turn in turns}) == 8
    for turn, choices in zip(turns, TURNS, strict=True):
        np.testing.assert_array_equal(turn, turned(pixels, choices))
    assert [turn.tobytes() for turn in turn_patches(pixels, 1)] == [pixels.tobytes()]


def test_eight_turns_are_the_mean_logit_of_the_turns(networks: list[Any], pixels: np.ndarray) -> None:
    one_by_one = [predict_logits(networks[0], turned(pixels, choices)) for choices in TURNS]
    assert np.ptp(one_by_one, axis=0).max() > 1e-3
    whole = predict_logits(networks[0], pixels, turns=8)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, np.mean(one_by_one, axis=0), atol=1e-5)


@pytest.mark.parametrize("choices", TURNS)
def test_with_eight_turns_a_turned_patch_has_the_same_logit(
    choices: tuple[int, int, int], networks: list[Any], pixels: np.ndarray
) -> None:
    np.testing.assert_allclose(
        predict_logits(networks[0], turned(pixels, choices), turns=8),
        predict_logits(networks[0], pixels, turns=8),
        atol=1e-5,
    )


@pytest.mark.parametrize("turns", [1, 8])
def test_several_networks_answer_with_their_mean_logit(turns: Turns, networks: list[Any], pixels: np.ndarray) -> None:
    one_by_one = [predict_logits(network, pixels, turns=turns) for network in networks]
    together = predict_logits(networks, pixels, batch_size=3, turns=turns)
    np.testing.assert_allclose(together, np.mean(one_by_one, axis=0), atol=1e-5)


def test_progress_counts_every_patch_once(networks: list[Any], pixels: np.ndarray) -> None:
    advanced: list[float] = []
    predict_logits(networks, pixels, batch_size=4, turns=8, advance=advanced.append)
    assert advanced == [4, 3]
