"""From raw patches to decisions: the one path that the gate, the nightly scoring and a notebook share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.bundle.record import BundleRecord
from bcd.errors import BcdError
from bcd.evaluation.calls import is_confident, is_idc
from bcd.options import Probability
from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    import pandas as pd


def confident_column(level: Probability) -> str:
    """Names the column that says whether a patch is confident at a level.

    Examples:
        >>> confident_column(0.95), confident_column(0.9999)
        ('confident_95', 'confident_99_99')
    """
    return f"confident_{100 * level:.10g}".replace(".", "_")


class Scorer:
    """A bundle's preparation, networks and policy, in that order.

    Args:
        networks: The folder of the Keras files; or the one file, as in bundles of before there were ensembles.
        record: The bundle's record.

    Attributes:
        record: The bundle's record.
        networks: The loaded networks, in the order of their files.

    Raises:
        BcdError: There are not as many networks as the record says, or one cannot be read.
    """

    def __init__(self, networks: Path, record: BundleRecord) -> None:
        from bcd.networks.keras_files import load_network

        files = sorted(networks.glob("*.keras")) if networks.is_dir() else [networks]
        if len(files) != record.ensemble.members:
            raise BcdError(
                f"The bundle holds {len(files)} networks, and its record says {record.ensemble.members}.",
                "Its files are damaged: use another version, or retrain.",
            )
        self.record = record
        self.networks = [load_network(file) for file in files]

    def score(self, pixels: np.ndarray) -> pd.DataFrame:
        """Scores raw patches.

        Args:
            pixels: RGB patches, uint8, shape (n, 50, 50, 3).

        Returns:
            A row a patch, in order: logit (mean over networks and turns), probability (calibrated), label, and
            whether it is confident at each level.

        Raises:
            BcdError: The array is not of that type and shape.
        """
        import pandas as pd

        from bcd.preprocessing.prepare import prepare
        from bcd.training.predict import predict_logits

        require_patches(pixels)
        turns = self.record.ensemble.turns
        logits = (
            predict_logits(self.networks, prepare(pixels, self.record.preparation), turns=turns)
            if len(pixels)
            else np.empty(0, np.float32)
        )
        probability = self.record.policy.calibrator.apply(logits)
        columns = {"logit": logits, "probability": probability, "label": is_idc(probability).astype(np.int32)}
        confident = {confident_column(v): is_confident(probability, v) for v in self.record.policy.levels}
        return pd.DataFrame(columns | confident)


def require_patches(pixels: object) -> None:
    """Raises a BcdError unless `pixels` is a uint8 array of RGB patches."""
    shape = (PATCH_PIXELS, PATCH_PIXELS, 3)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
        given = f"{pixels.dtype} of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise BcdError(
            f"The patches to score are {given}, not uint8 of shape (n, 50, 50, 3).",
            "Give raw RGB patches as they were cut, neither scaled nor sharpened.",
        )
