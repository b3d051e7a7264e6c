"""Logits of prepared patches, by a saved or a just trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError
from bcd.progress import track

if TYPE_CHECKING:
    from bcd.progress import Advance


def load_network(path: Path) -> Any:
    """Loads a network (keras.Model) that `train_network` saved, ready to predict.

    Raises:
        BcdError: There is no such file, or it is no Keras network.
    """
    from bcd.networks.backend import keras

    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, KeyError) as error:
        raise BcdError(f"{path} holds no network that Keras can read: {error}.", "Train it again.") from error


def predict_logits(
    network: Any, pixels: NDArray[np.uint8], batch_size: int = 256, *, advance: Advance | None = None
) -> NDArray[np.float32]:
    """Predicts one logit a patch.

    Args:
        network: What `load_network` or `build_network` returned.
        pixels: Prepared patches (n, 50, 50, 3) uint8, in memory or memory-mapped; n may be 0.
        batch_size: Patches at a time.
        advance: Told of every batch; None: a progress of its own.

    Returns:
        Logits (n,) float32; above 0 speaks for invasive ductal carcinoma.
    """
    if advance is None:
        with track("Predicting patches", total=len(pixels)) as shown:
            return predict_logits(network, pixels, batch_size, advance=shown)
    logits = np.empty(len(pixels), np.float32)
    for start in range(0, len(pixels), batch_size):
        batch = np.ascontiguousarray(pixels[start : start + batch_size])
        # A compiled function, without the set-up that keras.Model.predict does at every call.
        logits[start : start + len(batch)] = np.asarray(network.predict_on_batch(batch))[:, 0]
        advance(len(batch))
    return logits
