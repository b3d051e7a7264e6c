"""A bundle as a folder of files, which scores without a registry and without a home.

    bundle.json  graph/networks.xml and .bin  networks/network-1.keras …  card/
    seen.npz (only of one that came from elsewhere)

Examples:
        bundle = load_folder(Path("bundle"))
        bundle.score(pixels)  # logit, probability, label, confident_80, …
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcd.bundle.loaded import LoadedBundle
from bcd.bundle.scorer import RECORD, Scorer, load_scorer, require_raw_patches
from bcd.bundle.seen import Seen, read_seen_by_bundle
from bcd.errors import BcdError, DamagedError, NotFoundError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FolderBundle(LoadedBundle):
    """A bundle in a folder, ready to score.

    Attributes:
        name: What it is called.
        folder: Where it lies.
        scorer: Its preparation, engine and policy.
        seen: Who it was trained on; None where its snapshot says it.
    """

    name: str
    folder: Path
    scorer: Scorer
    seen: Seen | None

    def score(self, pixels: np.ndarray, *, spread: bool = False) -> pd.DataFrame:
        """Scores raw patches.

        Args:
            pixels: RGB patches as they were cut at 4 µm/px, uint8, shape (n, 50, 50, 3).
            spread: Whether a column says how far networks and turns disagree.

        Returns:
            A row a patch, in order: logit, probability (calibrated), label, and confident_80, … by level.

        Raises:
            BcdError: The array is not of that type and shape, or its values show that the patches were scaled or
                sharpened.
        """
        require_raw_patches(pixels)
        if len(pixels):
            self._require_raw(pixels)
        return self.scorer.score(pixels, spread=spread)

    def _require_raw(self, pixels: np.ndarray) -> None:
        if pixels.max() <= 1:
            raise BcdError(
                "All values of the patches are 0 or 1: they were scaled to 0..1.",
                "Give raw RGB patches as they were cut, values 0 to 255.",
            )
        distance = self.measure(pixels)
        if distance is not None:
            distance.require_raw("The array", tiled=True)


def load_folder(folder: Path, name: str = "") -> FolderBundle:
    """Loads a bundle from a folder, ready to score.

    Args:
        folder: The folder.
        name: What it is called; empty: the folder's own name.

    Raises:
        BcdError: There is no bundle in the folder, or its files are damaged.
    """
    if not (folder / RECORD).is_file():
        raise NotFoundError(
            f"{folder} holds no bundle: there is no {RECORD} in it.",
            "Name the folder of a bundle; a version is a number, such as 3.",
        )
    try:
        scorer = load_scorer(folder)
    except OSError as error:
        raise DamagedError(f"The bundle in {folder} is damaged: {error}.", "Copy it again.") from error
    return FolderBundle(
        name=name or folder.resolve().name, folder=folder, scorer=scorer, seen=read_seen_by_bundle(folder)
    )
