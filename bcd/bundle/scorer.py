"""From raw patches to decisions: the one path that the gate, the nightly scoring and a notebook share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.bundle.engine import Engine, digest_graph
from bcd.bundle.record import BundleRecord, read_record
from bcd.errors import BcdError
from bcd.evaluation.calls import is_confident, is_idc
from bcd.options import Probability
from bcd.patches import PATCH_PIXELS

if TYPE_CHECKING:
    import pandas as pd


RECORD, GRAPH_FOLDER, NETWORKS, CARD = "bundle.json", "graph", "networks", "card"
"""What a bundle's folder holds: its record, what scores, the Keras files that it was made of, and its card."""


def confident_column(level: Probability) -> str:
    """Names the column that says whether a patch is confident at a level.

    Examples:
        >>> confident_column(0.95), confident_column(0.9999)
        ('confident_95', 'confident_99_99')
    """
    return f"confident_{100 * level:.10g}".replace(".", "_")


class Scorer:
    """A bundle's preparation, engine and policy, in that order.

    Args:
        record: The bundle's record.
        engine: Its networks, as the record says.

    Attributes:
        record: The bundle's record.
    """

    def __init__(self, record: BundleRecord, engine: Engine) -> None:
        self.record, self._engine = record, engine

    def score(self, pixels: np.ndarray, *, spread: bool = False) -> pd.DataFrame:
        """Scores raw patches.

        Args:
            pixels: RGB patches, uint8, shape (n, 50, 50, 3).
            spread: Whether a column says how far networks and turns disagree; NaN where there is but one.

        Returns:
            A row a patch, in order: logit (mean over networks and turns), probability (calibrated), label, and
            whether it is confident at each level.

        Raises:
            BcdError: The array is not of that type and shape.
        """
        import pandas as pd

        from bcd.preprocessing.prepare import prepare

        require_raw_patches(pixels)
        calibrator = self.record.policy.calibrator
        answers = self._engine.answer(prepare(pixels, self.record.preparation), turns=self.record.ensemble.turns)
        logits, probability = answers.logits, calibrator.apply(answers.logits)
        columns = {"logit": logits, "probability": probability, "label": is_idc(probability).astype(np.int32)}
        confident = {confident_column(v): is_confident(probability, v) for v in self.record.policy.levels}
        scores = pd.DataFrame(columns | confident)
        if spread:
            alone = len(answers.each) == 1
            scores["spread"] = np.nan if alone else calibrator.apply(answers.each).std(axis=0)
        return scores


def list_bundle_networks(folder: Path) -> list[Path]:
    """Returns the Keras files of a bundle's folder, in their order."""
    return sorted((folder / NETWORKS).glob("*.keras"))


def load_scorer(folder: Path) -> Scorer:
    """Loads a bundle from its folder, ready to score; nothing else is needed, no home and no registry.

    Args:
        folder: Where `write_bundle` wrote it.

    Raises:
        BcdError: Another version of bcd made it.
        OSError: A file is missing, or was changed.
    """
    record = read_record(folder / RECORD)
    graph = folder / GRAPH_FOLDER
    if digest_graph(graph) != record.engine.sha256:
        raise OSError(f"The graph in {graph} is not the one that the record names")
    return Scorer(record, Engine(graph))


def require_raw_patches(pixels: object) -> None:
    """Raises a BcdError unless `pixels` is a uint8 array of RGB patches."""
    shape = (PATCH_PIXELS, PATCH_PIXELS, 3)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
        given = f"{pixels.dtype} of shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise BcdError(
            f"The patches to score are {given}, not uint8 of shape (n, 50, 50, 3).",
            "Give raw RGB patches as they were cut, neither scaled nor sharpened.",
        )
