"""A retraining: from a snapshot to a registered challenger, in stages that are each found done or done.

Every stage keeps its result under `work/KEY`, and KEY follows from the snapshot and the options alone: a retraining
that was killed goes on where it stopped, and the same retraining again changes nothing.

Example:
    retraining = plan_retraining(settings, snapshot)
    study = search_architecture(settings, retraining)
    trained = train_candidate(settings, retraining)
    evaluated = evaluate_candidate(settings, retraining, trained)
    bundle = register_candidate(settings, retraining, trained, evaluated)
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import BcdError
from bcd.evaluation.network import EvaluatedNetwork, evaluate_network
from bcd.evaluation.options import EvaluateOptions
from bcd.files import whole_file
from bcd.networks.architecture import PRESETS, Architecture, describe
from bcd.options import Options
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot, prepare_snapshot
from bcd.progress import SilentSink, show_progress
from bcd.registry.bundle import MODEL, Bundle, find_version, register_bundle
from bcd.registry.gate import Verdict
from bcd.registry.promotion import run_gate
from bcd.registry.record import BundleRecord
from bcd.registry.run import Run
from bcd.registry.tracking import open_client, start_run
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from bcd.store.decisions import find_decision
from bcd.store.snapshots import Snapshot
from bcd.training.fit import TrainedNetwork, find_trained, train_network
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    from bcd.registry.options import GateOptions
    from bcd.search.records import StudyResult


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """What one retraining is made of."""

    snapshot: Snapshot
    preparation: PrepareOptions
    search: SearchOptions
    training: TrainOptions
    evaluation: EvaluateOptions

    @property
    def key(self) -> str:
        """12 hex digits that are equal exactly when snapshot and options are."""
        options = (self.preparation, self.search, self.training, self.evaluation)
        text = "\n".join([self.snapshot.id, *(part.model_dump_json() for part in options)])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """How its run is called in the MLflow UI."""
        return f"retrain {self.snapshot.id[:8]}"

    def folder(self, settings: Settings) -> Path:
        """Returns where its stages keep their results."""
        return settings.work / self.key

    def network(self, settings: Settings) -> Path:
        """Returns where its network is trained."""
        return self.folder(settings) / "network"

    def prepare(self, settings: Settings) -> PreparedSnapshot:
        """Returns its prepared patches."""
        return prepare_snapshot(settings, self.snapshot, self.preparation)


class Choice(Options):
    """What a retraining trains, and why."""

    architecture: Architecture
    training: TrainOptions
    study: str | None
    note: str


def plan_retraining(
    settings: Settings,
    snapshot: Snapshot,
    *,
    search: SearchOptions | None = None,
    training: TrainOptions | None = None,
) -> Retraining:
    """Puts a retraining together: what is not given is as bcd.toml says."""
    return Retraining(
        snapshot=snapshot,
        preparation=settings.options("preparation", PrepareOptions),
        search=search or settings.options("search", SearchOptions),
        training=training or settings.options("training", TrainOptions),
        evaluation=settings.options("evaluation", EvaluateOptions),
    )


def search_architecture(settings: Settings, retraining: Retraining) -> StudyResult:
    """Searches for the architecture on train and val patients, and logs the study with a run for each trial."""
    from bcd.search.study import run_study

    result = run_study(settings, retraining.prepare(settings), retraining.search, retraining.training)
    with (
        _open_run(settings, retraining) as parent,
        start_run(
            settings,
            key=f"search/{result.study}",
            name=f"search {len(result.trials)} trials",
            kind="search",
            parent=parent.id,
        ) as run,
    ):
        run.log_options("search", retraining.search)
        run.log_snapshot(retraining.snapshot, context="training", split="train")
        run.log_study(result)
    choice = Choice(architecture=result.architecture, training=result.training, study=result.study, note=result.note)
    with whole_file(retraining.folder(settings) / "choice.json") as partial:
        partial.write_text(choice.model_dump_json(indent=2))
    return result


def train_candidate(settings: Settings, retraining: Retraining) -> TrainedNetwork:
    """Trains what the search chose, or `compact` where there was no search, logging each epoch as it ends."""
    choice = read_choice(settings, retraining)
    with _open_run(settings, retraining) as run:
        run.log_options("preparation", retraining.preparation)
        run.log_options("architecture", choice.architecture)
        run.log_options("training", choice.training)
        run.log_snapshot(retraining.snapshot, context="training", split="train")
        run.set_tags({"bcd.snapshot": retraining.snapshot.id, "bcd.protocol": retraining.snapshot.protocol})
        run.set_tags({"bcd.architecture": describe(choice.architecture), "mlflow.note.content": choice.note})
        trained = train_network(
            retraining.prepare(settings),
            choice.architecture,
            choice.training,
            retraining.network(settings),
            on_epoch=lambda epoch, row: run.log_metrics(row, step=epoch),
        )
        run.log_history(trained.history)  # whole, also where a kill fell between an epoch and its logging
        run.log_metrics({"parameters": trained.parameters, "best_epoch": trained.best_epoch})
    return trained


def read_choice(settings: Settings, retraining: Retraining) -> Choice:
    """Reads what the search chose; `compact` and the options as given where there was no search."""
    file = retraining.folder(settings) / "choice.json"
    if file.exists():
        return Choice.model_validate_json(file.read_text())
    return Choice(
        architecture=PRESETS["compact"],
        training=retraining.training,
        study=None,
        note="The default, without a search.",
    )


def evaluate_candidate(settings: Settings, retraining: Retraining, trained: TrainedNetwork) -> EvaluatedNetwork:
    """Fits the policy on val patients, judges the network on test patients, and logs what was found."""
    evaluated = evaluate_network(
        retraining.prepare(settings),
        trained.path,
        retraining.evaluation,
        retraining.folder(settings) / "evaluation",
    )
    with _open_run(settings, retraining) as run:
        run.log_options("evaluation", retraining.evaluation)
        run.log_options("calibrator", evaluated.policy.calibrator)
        for split, evaluation in evaluated.evaluations.items():
            run.log_snapshot(retraining.snapshot, context=split, split=split)
            run.log_evaluation(evaluation, evaluated.scores(split), evaluated.figures(split))
    return evaluated


def register_candidate(
    settings: Settings, retraining: Retraining, trained: TrainedNetwork, evaluated: EvaluatedNetwork
) -> Bundle:
    """Registers the network with its policy as the next version of the model."""
    from bcd.store.batches import read_pixels

    test = evaluated.evaluations.get("test")
    record = BundleRecord(
        preparation=retraining.preparation,
        architecture=trained.architecture,
        training=trained.options,
        policy=evaluated.policy,
        snapshot=retraining.snapshot.id,
        protocol=retraining.snapshot.protocol,
        metrics=test.headline() if test else {},
    )
    with _open_run(settings, retraining) as run:
        return register_bundle(
            settings,
            key=retraining.key,
            run_id=run.id,
            network=trained.path,
            record=record,
            example=read_pixels(settings, retraining.snapshot.patches.iloc[:2]),
        )


def _open_run(settings: Settings, retraining: Retraining) -> AbstractContextManager[Run]:
    return start_run(settings, key=f"retrain/{retraining.key}", name=retraining.name, kind="retrain")


def judge_candidate(settings: Settings, retraining: Retraining, options: GateOptions) -> Verdict:
    """Lets the gate decide on the registered bundle of a retraining.

    Raises:
        BcdError: The bundle is not registered yet.
    """
    from bcd.store.catalog import open_catalog

    version = find_version(open_client(settings), retraining.key)
    if version is None:
        raise BcdError(
            f"The retraining of snapshot {retraining.snapshot.id[:12]} has no registered bundle to judge.",
            "Evaluate it first: bcd retrain does all stages.",
        )
    with _open_run(settings, retraining) as run:
        verdict = run_gate(
            settings,
            open_catalog(settings),
            key=f"gate/{retraining.key}",
            snapshot=retraining.snapshot,
            challenger=version,
            options=options,
            evaluate=retraining.evaluation,
            parent=run.id,
        )
        run.set_tags({"bcd.verdict": verdict.verdict, "bcd.bundle": f"{MODEL}/{version}"})
    return verdict


@dataclass(frozen=True)
class Outcome:
    """What a retraining came to.

    Attributes:
        snapshot: What it was made from.
        study: What the search found.
        trained: The network.
        evaluated: Its evaluation, with the policy.
        verdict: What the gate decided.
    """

    snapshot: Snapshot
    study: StudyResult
    trained: TrainedNetwork
    evaluated: EvaluatedNetwork
    verdict: Verdict


def read_outcome(settings: Settings, retraining: Retraining) -> Outcome:
    """Reads what the stages of a finished retraining left."""
    from bcd.search.study import run_study
    from bcd.store.catalog import open_catalog

    prepared, folder = retraining.prepare(settings), retraining.folder(settings)
    trained = find_trained(retraining.network(settings))
    decision = find_decision(open_catalog(settings), f"gate/{retraining.key}")
    if decision is None or trained is None:
        raise BcdError(
            f"The retraining of snapshot {retraining.snapshot.id[:12]} is not finished.", "Run bcd retrain."
        )
    with show_progress(SilentSink()):  # every stage would say that it was found done
        return Outcome(
            snapshot=retraining.snapshot,
            study=run_study(settings, prepared, retraining.search, retraining.training),
            trained=trained,
            evaluated=evaluate_network(prepared, trained.path, retraining.evaluation, folder / "evaluation"),
            verdict=Verdict.model_validate(decision.evidence["verdict"]),
        )
