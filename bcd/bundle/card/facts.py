"""What a model card is made of: read from the bundle's record, its run in MLflow and its snapshot in the store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bcd.bundle.record import BundleRecord
from bcd.errors import DamagedError, NotFoundError
from bcd.evaluation.evaluation import Evaluation
from bcd.settings import Settings
from bcd.snapshots.freeze import load_snapshot
from bcd.tracking.origin import strip_mlflow_link
from bcd.tracking.store import experiment_id, open_mlflow_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.snapshots.snapshot import Snapshot

PICTURES = ("reliability", "thresholds", "risk-coverage", "confusion")
"""Pictures of the test split that a card shows, where the run has them: none that names a patient."""


@dataclass(frozen=True)
class Compute:
    """What it took to make a bundle.

    Attributes:
        device: What the networks were trained on, as the run says.
        training_hours: Hours of all epochs of all networks; None where the run does not say.
        search_hours: Hours of the trials of the search; 0 without one.
        trials: Trials of the search.
        parameters: Weights of all networks; None where the run does not say.
    """

    device: str
    training_hours: float | None
    search_hours: float
    trials: int
    parameters: int | None


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        record: The bundle's record.
        run: Id of the run that made the bundle.
        note: How the run's architecture was chosen.
        compute: What it took.
        evaluation: How it does on the test patients; None where the run holds no such evaluation.
        snapshot: What it was trained on; None where the store has it no more.
        pictures: PNG files of the test split, by name.
    """

    record: BundleRecord
    run: str
    note: str
    compute: Compute
    evaluation: Evaluation | None
    snapshot: Snapshot | None
    pictures: Mapping[str, bytes]


def gather_card_facts(settings: Settings, record: BundleRecord, run_id: str) -> CardFacts:
    """Gathers the facts of a bundle from the registry and the store."""
    client = open_mlflow_client(settings)
    snapshot = None
    with suppress(NotFoundError, DamagedError):  # deleted since, or of another store
        snapshot = load_snapshot(settings, record.snapshot)
    tags = client.get_run(run_id).data.tags
    with TemporaryDirectory() as folder:
        files = _download_evaluation(client, run_id, Path(folder))
        evaluation = files.get("evaluation.json")
        return CardFacts(
            record=record,
            run=run_id,
            note=strip_mlflow_link(tags.get("mlflow.note.content", "")),
            compute=_read_compute(client, run_id),
            evaluation=Evaluation.model_validate_json(evaluation.read_text()) if evaluation else None,
            snapshot=snapshot,
            pictures={name: files[f"{name}.png"].read_bytes() for name in PICTURES if f"{name}.png" in files},
        )


def _download_evaluation(client: MlflowClient, run_id: str, folder: Path) -> dict[str, Path]:
    """Downloads the evaluation of the test split and its pictures, by file name."""
    there = {Path(file.path).name for file in client.list_artifacts(run_id, "test")}
    for name in there & {"evaluation.json", "figures"}:  # the scores of every patch lie beside them
        client.download_artifacts(run_id, f"test/{name}", str(folder))
    return {file.name: file for file in folder.rglob("*") if file.is_file()}


def _read_compute(client: MlflowClient, run_id: str) -> Compute:
    run = client.get_run(run_id)
    filter_string = f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`bcd.kind` = 'search'"
    searches = client.search_runs([experiment_id(client)], filter_string)
    trials = [
        trial.data.metrics["seconds"]
        for search in searches
        for trial in client.search_runs(
            [experiment_id(client)], f"tags.`mlflow.parentRunId` = '{search.info.run_id}'", max_results=10_000
        )
        if "seconds" in trial.data.metrics
    ]
    minutes, parameters = (run.data.metrics.get(name) for name in ("minutes", "parameters"))
    return Compute(
        device=run.data.tags.get("bcd.device", "a device that the run does not name"),
        training_hours=None if minutes is None else minutes / 60,
        search_hours=sum(trials) / 3600,
        trials=len(trials),
        parameters=None if parameters is None else int(parameters),
    )
