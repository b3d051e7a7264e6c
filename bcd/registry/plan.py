"""The plan of a retraining: what it is made of, what its search chose, and the run and folder that follow from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bcd.evaluation.options import EvaluateOptions
from bcd.networks.architecture import PRESETS, Architecture
from bcd.options import Options
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot, prepare_snapshot
from bcd.registry.run import Run
from bcd.registry.tracking import find_run, open_client, start_run
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from bcd.store.snapshots import Snapshot
from bcd.training.ensemble import describe_ensemble
from bcd.training.options import SINGLE, EnsembleOptions, TrainOptions

Stage = Literal["search", "train", "evaluate", "gate"]

_STAGES_TAG = "bcd.stages"


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """What one retraining is made of; an architecture that is named is trained without a search."""

    snapshot: Snapshot
    preparation: PrepareOptions
    search: SearchOptions
    training: TrainOptions
    evaluation: EvaluateOptions
    ensemble: EnsembleOptions = SINGLE
    architecture: Architecture | None = None

    @property
    def key(self) -> str:
        """12 hex digits that are equal exactly when snapshot and options are."""
        options: list[Options] = [self.preparation, self.search, self.training, self.evaluation, self.ensemble]
        if self.architecture is not None:
            options.append(self.architecture)
        text = "\n".join([self.snapshot.id, *(part.model_dump_json() for part in options)])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def folder(self, settings: Settings) -> Path:
        """Returns where its stages keep their results."""
        return settings.work / self.key

    def network(self, settings: Settings) -> Path:
        """Returns where its networks are trained."""
        return self.folder(settings) / "network"

    def prepare(self, settings: Settings) -> PreparedSnapshot:
        """Returns its patches, prepared as its search chose, or as planned where there was none."""
        return prepare_snapshot(settings, self.snapshot, read_choice(settings, self).preparation)


class Choice(Options):
    """What a retraining trains, and why."""

    architecture: Architecture
    training: TrainOptions
    preparation: PrepareOptions
    study: str | None
    note: str


def plan_retraining(
    settings: Settings,
    snapshot: Snapshot,
    *,
    search: SearchOptions | None = None,
    training: TrainOptions | None = None,
    ensemble: EnsembleOptions | None = None,
    architecture: Architecture | None = None,
) -> Retraining:
    """Puts a retraining together: what is not given is as bcd.toml says, the architecture as a search chooses."""
    return Retraining(
        snapshot=snapshot,
        preparation=settings.options("preparation", PrepareOptions),
        search=search or settings.options("search", SearchOptions),
        training=training or settings.options("training", TrainOptions),
        evaluation=settings.options("evaluation", EvaluateOptions),
        ensemble=ensemble or settings.options("ensemble", EnsembleOptions),
        architecture=architecture,
    )


def read_choice(settings: Settings, retraining: Retraining) -> Choice:
    """Reads what the search chose; without one the architecture that was named, or `compact`, as the options say."""
    file = retraining.folder(settings) / "choice.json"
    if file.exists():
        return Choice.model_validate_json(file.read_text())
    return Choice(
        architecture=retraining.architecture or PRESETS["compact"],
        training=retraining.training,
        preparation=retraining.preparation,
        study=None,
        note="Named by hand, without a search." if retraining.architecture else "The default, without a search.",
    )


@contextmanager
def open_run(
    settings: Settings, retraining: Retraining, choice: Choice | None = None, *, stage: Stage | None = None
) -> Iterator[Run]:
    """Opens the run of a retraining, whose name says what is trained as soon as that is chosen.

    Args:
        settings: Where the store is.
        retraining: Whose run it is.
        choice: What is trained; None: what its folder says.
        stage: What is done when the block has ended; None: a part of one.
    """
    if choice is None and retraining.folder(settings).exists():
        choice = read_choice(settings, retraining)
    what = "" if choice is None else f" {describe_ensemble(choice.architecture, retraining.ensemble)}"
    # What is trained comes first: the table in the UI cuts names.
    name = f"retrain{what} on {retraining.snapshot.id[:8]}"
    with start_run(settings, key=_run_key(retraining), name=name, kind="retrain") as run:
        yield run
        if stage is not None:
            done = find_done(settings, retraining)[1] | {stage}
            run.set_tags({_STAGES_TAG: " ".join(sorted(done))})


def find_done(settings: Settings, retraining: Retraining) -> tuple[str | None, set[str]]:
    """Returns the id of a retraining's run and the stages that were done to their end; None: it never began.

    Whoever finds a stage done leaves the run alone: opened again, a finished run would seem to have lasted until now.
    """
    client = open_client(settings)
    run_id = find_run(client, _run_key(retraining))
    return run_id, set() if run_id is None else set(client.get_run(run_id).data.tags.get(_STAGES_TAG, "").split())


def _run_key(retraining: Retraining) -> str:
    return f"retrain/{retraining.key}"
