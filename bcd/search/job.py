"""What a worker's process is told: the study and everything that it is built from, by settings and ids."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from bcd.files import lock_file
from bcd.networks.architecture import PRESETS
from bcd.options import Options
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot, prepare_snapshot
from bcd.search.options import SearchOptions
from bcd.search.space import Recipe
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, load_snapshot
from bcd.training.options import TrainOptions

Part = Literal["references", "trials", "refits"]
"""What of a study is worked on: the references come first, and the refits are a study of their own."""


class Job(Options):
    """One piece of work for a worker's process: the next trial of a study, or the next of its refits."""

    part: Part
    study: str
    settings: dict[str, Any]
    snapshot: str
    preparation: PrepareOptions
    training: TrainOptions
    search: dict[str, Any]

    @property
    def options(self) -> SearchOptions:
        """How far the study goes."""
        return SearchOptions.model_validate(self.search)

    @property
    def folder(self) -> Path:
        """Where the files of the study lie."""
        return self.load_settings().work / self.study

    def reference_folder(self, name: str, seed: int = 0, epochs: int = 0) -> Path:
        """Returns where a preset's training lies: the same for every study that would train it alike.

        Args:
            name: The preset.
            seed: What its seed is greater by.
            epochs: How many; 0: as many as a trial's.
        """
        changes = {"seed": self.training.seed + seed, "epochs": epochs or self.options.epochs}
        training = self.training.model_copy(update=changes)
        recipe = Recipe(architecture=PRESETS[name], training=training, preparation=self.preparation)
        content = hashlib.sha256(f"{self.snapshot} {recipe.model_dump_json()}".encode()).hexdigest()[:12]
        return self.load_settings().work / "references" / f"{name}-{content}"

    def load_settings(self) -> Settings:
        """Returns the settings of whoever gave the job."""
        return Settings(**self.settings)

    def load_snapshot(self) -> Snapshot:
        """Opens the snapshot."""
        return load_snapshot(self.load_settings(), self.snapshot)

    def prepare(self, preparation: PrepareOptions) -> PreparedSnapshot:
        """Returns the snapshot's patches, prepared as a recipe says."""
        return prepare_for_trials(self.load_settings(), self.load_snapshot(), preparation)


def prepare_for_trials(settings: Settings, snapshot: Snapshot, preparation: PrepareOptions) -> PreparedSnapshot:
    """Prepares a snapshot's patches, or waits for the worker of this machine that does."""
    with lock_file(settings.work / "preparing" / "lock"):
        return prepare_snapshot(settings, snapshot, preparation)


def make_search_job(
    settings: Settings,
    study: str,
    *,
    snapshot: Snapshot,
    preparation: PrepareOptions,
    training: TrainOptions,
    options: SearchOptions,
) -> Job:
    """Writes down what the workers of a study need."""
    whole = options.model_dump(mode="json") | {
        "workers": options.workers,
        "pool": options.pool,
        "heartbeat_seconds": options.heartbeat_seconds,
    }
    return Job(
        part="trials",
        study=study,
        settings=settings.model_dump(mode="json"),
        snapshot=snapshot.id,
        preparation=preparation,
        training=training,
        search=whole,
    )


def make_joining_job(
    settings: Settings,
    study: str,
    inputs: dict[str, Any],
    part: Part,
    *,
    trials: int,
    hours: float,
    heartbeat_seconds: int,
) -> Job:
    """Writes down what workers need that join a study of another machine.

    Args:
        settings: Those of this machine.
        study: The study's name.
        inputs: What it is of, as its storage says.
        part: What of it is worked on.
        trials: Its budget in trials; 0: none.
        hours: Its budget in hours; 0: none.
        heartbeat_seconds: How often a trial tells that it lives.
    """
    budget = {"trials": trials, "hours": hours, "heartbeat_seconds": heartbeat_seconds}
    given = {
        "part": part,
        "study": study,
        "settings": settings.model_dump(mode="json"),
        **{name: inputs[name] for name in ("snapshot", "preparation", "training")},
        "search": inputs["search"] | budget,
    }
    return Job.model_validate_json(json.dumps(given))
