"""The rows of a training's history, and which epoch they speak for."""

from __future__ import annotations

from collections.abc import Sequence

Row = dict[str, float]


def best_epoch(history: Sequence[Row]) -> int:
    """Returns the epoch, counted from 1, with the highest patient-wise val score, the first of equals."""
    scores = [row["val_score"] for row in history]
    return 1 + scores.index(max(scores))


def kept_epoch(history: Sequence[Row], keep: str) -> int:
    """Returns the epoch, counted from 1, whose weights are kept: the `best` or the `last`."""
    return best_epoch(history) if keep == "best" else len(history)


def has_stalled(history: Sequence[Row], patience: int) -> bool:
    """Whether the last `patience` epochs were no better than one before them; a patience of 0 never ends."""
    return bool(history) and 0 < patience <= len(history) - best_epoch(history)
