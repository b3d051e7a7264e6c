"""What tests of a study use: a hospital that is easy to learn, and stand-ins for processes and for training."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from patients import freeze_patches, list_patches

from bcd.networks.architecture import Architecture
from bcd.progress import show_progress
from bcd.search.job import Job
from bcd.search.relay import PipeSink, Relay
from bcd.search.worker import do_next_trial
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.training.checkpoint import State
from bcd.training.fit import TrainedNetwork
from bcd.training.loop import CHECKPOINT
from bcd.training.options import TrainOptions

SPLITS = ["train"] * 20 + ["val"] * 8 + ["gate"] * 4 + ["test"] * 4
PATCHES = 4  # of each patient, half of them IDC


def write_hospital(settings: Settings, more: int = 0) -> Snapshot:
    """Writes a batch and its snapshot, with so many more train patients; patches of label 1 are darker."""
    splits = {f"{patient:02}": split for patient, split in enumerate([*SPLITS, *["train"] * more])}
    patches = list_patches(splits, [each % 2 for each in range(PATCHES)], slide="1")
    pixels = np.random.default_rng(0).integers(100, 256, (len(patches), 50, 50, 3), dtype=np.uint8)
    pixels[patches["label"] == 1] //= 2
    return freeze_patches(settings, patches, pixels)


class Here:
    """Stands in for a worker's process: does the job in this one, and tells of it in the same lines."""

    def __init__(self, job: Job) -> None:
        self.relay, self.lines = Relay(bars=False), io.StringIO()
        with show_progress(PipeSink(self.lines)):
            do_next_trial(Job.model_validate_json(job.model_dump_json()))

    def has_ended(self, seconds: float) -> bool:
        for line in self.lines.getvalue().splitlines():
            self.relay.show(json.loads(line))
        return True

    def kill(self) -> None:
        return


class Killed(BaseException):
    """What a test kills a worker with."""


class Bench:
    """Stands in for training: a trial's val score is what `score` says, and every training is noted.

    Like training, it goes on after the last epoch where it was killed, at `kill_at`: the how manieth trial and epoch.
    """

    def __init__(self, score: Callable[[int, int, int], float]) -> None:
        self.score = score
        self.trained: list[tuple[str, Architecture, TrainOptions]] = []
        self.history: dict[Path, list[dict[str, float]]] = {}
        self.kill_at: tuple[int, int] | None = None

    def train(
        self, prepared: Any, architecture: Architecture, options: TrainOptions, folder: Path, *, on_epoch: Any = None
    ) -> TrainedNetwork:
        checkpoint = folder / CHECKPOINT
        history = self.history.setdefault(folder, [])
        kind, place = folder.name.split("-")[:2]
        number = int(place) if kind == "trial" else ["compact", "dissertation"].index(kind)
        name = f"trial-{number}" + (f"-seed-{seed}" if (seed := options.seed - TrainOptions().seed) else "")
        if len(history) < options.epochs:
            self.trained.append((name, architecture, options))
        for epoch in range(len(history) + 1, options.epochs + 1):
            score = self.score(number, options.seed - TrainOptions().seed, epoch)
            history.append({"val_score": score, "val_auroc": score, "seconds": 1.0})
            State(history=history).save(checkpoint)
            if self.kill_at == (len(self.history), epoch):
                self.kill_at = None
                raise Killed  # between the checkpoint and its report
            if on_epoch is not None:
                on_epoch(epoch, history[-1])
        checkpoint.unlink(missing_ok=True)
        return Trained(folder / "network.keras", architecture, options, history, 1)


class Trained(TrainedNetwork):
    """What the bench trained."""

    def predict(self, pixels: Any) -> Any:
        """Logits with about the val score that the last epoch had: the lower it is, the more they are shuffled."""
        score = self.history[-1]["val_score"]
        random = np.random.default_rng(int(score * 1e6))
        labels = np.tile([0, 1], len(pixels) // 2)
        return labels + random.normal(0, 3 * (1 - score), len(pixels))
