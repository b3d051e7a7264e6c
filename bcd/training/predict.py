"""Logits of prepared patches, by one network or the mean of several, in one turn or the mean of all eight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.progress import track_progress
from bcd.training.options import Turns

if TYPE_CHECKING:
    from keras import Model

    from bcd.preprocessing.prepared import PatchRows
    from bcd.progress import Advance


def predict_logits(
    network: Model | Sequence[Model],
    pixels: NDArray[np.uint8] | PatchRows,
    batch_size: int = 256,
    *,
    turns: Turns = 1,
    advance: Advance | None = None,
) -> NDArray[np.float32]:
    """Predicts one logit a patch: the mean over networks and turns, which are never held all at once.

    Args:
        network: What `load_network` or `build_network` returned, or several of them.
        pixels: Prepared patches (n, 50, 50, 3) uint8, in memory or memory-mapped; n may be 0.
        batch_size: Patches at a time.
        turns: 1, the patch as it lies; or 8, all its exact turns, so that a turned patch has the same logit.
        advance: Told of every batch; None: a progress of its own.

    Returns:
        Logits (n,) float32; above 0 speaks for invasive ductal carcinoma.
    """
    if advance is None:
        with track_progress("Predicting patches", total=len(pixels)) as shown:
            return predict_logits(network, pixels, batch_size, turns=turns, advance=shown)
    networks = network if isinstance(network, Sequence) else [network]
    logits = np.empty(len(pixels), np.float32)
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        total = np.zeros(len(batch), np.float64)
        for turn in turn_patches(batch, turns):
            for each in networks:
                # A compiled function, without the set-up that keras.Model.predict does at every call.
                total += np.asarray(each.predict_on_batch(turn))[:, 0]
        logits[start : start + len(batch)] = total / (turns * len(networks))
        advance(len(batch))
    return logits


def turn_patches(patches: NDArray[np.uint8], turns: Turns = 8) -> Iterator[NDArray[np.uint8]]:
    """Yields patches (n, edge, edge, 3) as they lie, then, of eight turns, in their other exact turns."""
    for transposed, upside_down, mirrored in islice(product((False, True), repeat=3), turns):
        turn = patches.transpose(0, 2, 1, 3) if transposed else patches
        turn = turn[:, ::-1] if upside_down else turn
        yield np.ascontiguousarray(turn[:, :, ::-1] if mirrored else turn)
