"""What a worker's process is told: the study and everything that it is built from, by settings and ids."""

from __future__ import annotations

from typing import Any, Literal

from bcd.files import lock_file
from bcd.options import Options
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot, prepare_snapshot
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, load_snapshot
from bcd.training.options import TrainOptions


class Job(Options):
    """One piece of work for a worker's process: the next trial of a study, or the next of its refits."""

    task: Literal["trial", "refit"]
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
        "heartbeat_seconds": options.heartbeat_seconds,
    }
    return Job(
        task="trial",
        study=study,
        settings=settings.model_dump(mode="json"),
        snapshot=snapshot.id,
        preparation=preparation,
        training=training,
        search=whole,
    )
