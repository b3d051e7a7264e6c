"""The picture of a training: loss and val score of each network over its epochs, and which epoch was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bcd.charts import BLUE, GREEN, INK, ORANGE, PURPLE, page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from bcd.training.fit import TrainedNetwork

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
_FIGURES = {"loss": "train loss", "val_score": "val score"}


def draw_training(networks: Sequence[TrainedNetwork], path: Path, *, note: str) -> Path:
    """Draws the curves of networks side by side, and returns the picture.

    Args:
        networks: Those of one ensemble; at least one.
        path: The file to write.
        note: What they are.
    """
    with page(path, title="Training", note=note, size=(8.6, 3.2)) as figure:
        for axes, (figure_name, title) in zip(figure.subplots(1, 2), _FIGURES.items(), strict=True):
            for number, network in enumerate(networks):
                _draw_curve(axes, network, figure_name, _COLOURS[number % len(_COLOURS)])
            axes.set_title(title)
            axes.set_xlabel("epoch; ringed: the one that was kept")
    return path


def _draw_curve(axes: Axes, network: TrainedNetwork, figure_name: str, colour: str) -> None:
    epochs = [epoch for epoch, row in enumerate(network.history, 1) if figure_name in row]
    axes.plot(epochs, [network.history[epoch - 1][figure_name] for epoch in epochs], color=colour, marker=".")
    if network.best_epoch in epochs:  # a training may look at no val patient
        kept = network.history[network.best_epoch - 1][figure_name]
        axes.plot(network.best_epoch, kept, marker="o", markersize=9, markerfacecolor="none", color=INK)
