"""The picture of a training, from its history alone."""

from __future__ import annotations

from pathlib import Path

import cv2

from bcd.networks.architecture import PRESETS
from bcd.training.fit import TrainedNetwork
from bcd.training.options import TrainOptions
from bcd.training.plot import draw_training


def make_network(history: list[dict[str, float]]) -> TrainedNetwork:
    return TrainedNetwork(Path("network.keras"), PRESETS["compact"], TrainOptions(), history, 1000)


def test_networks_are_drawn_with_and_without_val_patients(tmp_path: Path) -> None:
    watched = [{"loss": 1 / (epoch + 1), "val_score": 0.5 + epoch / 10} for epoch in range(4)]
    blind = [{"loss": row["loss"]} for row in watched]
    blind_network = TrainedNetwork(Path("network.keras"), PRESETS["compact"], TrainOptions(keep="last"), blind, 1000)
    for name, networks in (("watched", [make_network(watched)] * 5), ("blind", [blind_network])):
        picture = draw_training(networks, tmp_path / f"{name}.png", note="compact")
        height, width = cv2.imread(str(picture)).shape[:2]
        assert width > height > 100
    assert (tmp_path / "watched.png").read_bytes() != (tmp_path / "blind.png").read_bytes()
