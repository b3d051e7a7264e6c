"""A run of the experiment, and what bcd logs to it.

Every method may be called again after a kill and leaves the run as if it had been called once.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from bcd.patches import PERSON, SLIDE
from bcd.tracking.lookup import KEY_TAG
from bcd.tracking.origin import add_link
from bcd.tracking.owner import PROCESS_TAG, name_run_owner

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient, entities

    from bcd.evaluation.evaluation import Evaluation
    from bcd.search.records import StudyResult, TrialRecord
    from bcd.snapshots.freeze import Snapshot

_METRICS, _PARAMS = 900, 100  # in one request; the server takes 1,000 and 100
_COLUMNS = [
    {"name": name, "type": kind, "required": True}
    for kind, names in {"string": SLIDE, "long": ["x", "y", "label"]}.items()
    for name in names
]
_MODELS = "mlflow.bcd.models"
"""Tag of a run: the models that it has logged whole."""

_TRIAL_STATUS = {
    "complete": "FINISHED",
    "pruned": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}


class Run:
    """One run, by its id; methods log to it.

    Attributes:
        id: MLflow's run id.
    """

    def __init__(self, client: MlflowClient, run_id: str, opened: entities.Run | None = None) -> None:
        self.id = run_id
        self._client = client
        if opened is not None:  # what MLflow has just answered
            self._opened = opened

    def log_options(self, prefix: str, options: BaseModel | Mapping[str, Any]) -> None:
        """Logs options as parameters `prefix.field`, nested ones as `prefix.field.field`."""
        from mlflow.entities import Param

        values = options.model_dump(mode="json") if isinstance(options, BaseModel) else options
        # A parameter is written once; a continued run has those of its first part.
        flat = flatten_run_parameters(prefix, values).items()
        new = [Param(key, value) for key, value in flat if key not in self._written]
        for at in range(0, len(new), _PARAMS):
            self._client.log_batch(self.id, params=new[at : at + _PARAMS])
        self._written.update(param.key for param in new)

    def log_metrics(self, metrics: Mapping[str, float | None], *, step: int = 0, model_id: str | None = None) -> None:
        """Logs figures, of an epoch or of a logged model if named; those that are None (n/a) are left out."""
        self._log_metrics([(step, metrics)], model_id)

    def log_history(self, history: Sequence[Mapping[str, float]]) -> None:
        """Logs the figures of each epoch, the first as step 1, so that the UI draws the curves."""
        self._log_metrics(list(enumerate(history, start=1)))

    def log_snapshot(self, snapshot: Snapshot, *, context: str, split: str | None = None) -> None:
        """Logs the snapshot, or one split of it, as the dataset of this run, by which runs are compared.

        Args:
            snapshot: What was used; the dataset's digest is its content hash.
            context: What for: `training`, `evaluation`, `gate`.
            split: The split that was used; None: the whole snapshot.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        patches = snapshot.patches if split is None else snapshot.of(split)
        patients = len(patches[PERSON].drop_duplicates())
        counts = {"num_rows": len(patches), "patients": patients, "positive": int(patches["label"].sum())}
        # By hand: MLflow's own way reads the whole frame, and guesses where it came from.
        dataset = Dataset(
            name=f"{snapshot.id[:8]} {split or 'whole'} {snapshot.protocol}",  # the table shows 20 characters
            digest=snapshot.id[:36],
            source_type="snapshot",
            source=json.dumps({"snapshot": snapshot.id, "split": split}),
            schema=json.dumps({"mlflow_colspec": _COLUMNS}),
            profile=json.dumps(counts),
        )
        tag = InputTag("mlflow.data.context", context)
        self._client.log_inputs(self.id, datasets=[DatasetInput(dataset, [tag])])

    def log_study(self, study: StudyResult) -> None:
        """Logs a study: each trial as a run under this one, what was chosen and what it gains here."""
        tried = [trial for trial in study.trials if trial.state != "too large"]
        for trial in tried:
            self.log_trial(trial)
        self.log_options("architecture", study.architecture)
        complete = [trial.value for trial in study.trials if trial.state == "complete" and trial.value is not None]
        self.log_metrics({"trials": len(tried), "best_val_score": max(complete, default=None)})
        gains = [[str(each) for each in (gain.trial, gain.value, gain.low, gain.high)] for gain in study.gains]
        self.log_text(table_as_run_csv(["trial", "gain", "low", "high"], gains), "study/gains.csv")
        self.set_tags({"bcd.study": study.study, "bcd.best_trial": str(study.best)})
        self.describe(study.note)

    def log_trial(self, trial: TrialRecord) -> None:
        """Logs one finished trial of this run's study as a run under it, once."""
        name = f"trial {trial.name}" + (f" {trial.state}" if trial.state != "complete" else "")
        run = self.open_child(f"trial/{self.id}/{trial.number}", name, "trial", {"bcd.state": trial.state})
        run.log_options("architecture", trial.architecture)
        run.log_options("training", trial.training)
        run.log_options("preparation", trial.preparation)
        run.log_options("trial", trial.params)
        run.log_history(trial.history)
        figures = {"val_score": trial.value, "seconds": trial.seconds, "parameters": trial.parameters}
        run.log_metrics(figures | {"multiply_adds": trial.multiply_adds})
        run.end(_TRIAL_STATUS[trial.state])

    def open_child(self, key: str, name: str, kind: str, tags: Mapping[str, str] | None = None) -> Run:
        """Returns the run of `key` under this one, made where there is none; whoever opens it ends it."""
        experiment = self._opened.info.experiment_id
        found = self._client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        if found:
            return Run(self._client, found[0].info.run_id, found[0])
        own = {KEY_TAG: key, "bcd.kind": kind, "mlflow.parentRunId": self.id, "mlflow.source.name": "bcd"}
        own |= {PROCESS_TAG: name_run_owner(), **(tags or {})}
        created = self._client.create_run(experiment, run_name=name, tags=own)
        return Run(self._client, created.info.run_id, created)

    def end(self, status: str = "FINISHED") -> None:
        """Says that nothing more comes."""
        self._client.set_terminated(self.id, status)

    def log_evaluation(
        self, evaluation: Evaluation, scores: pd.DataFrame | None = None, figures: Sequence[Path] = ()
    ) -> None:
        """Logs an evaluation: its headline as metrics, all figures as tables and JSON, pictures, and the scores.

        Args:
            evaluation: What was found on one split.
            scores: The patches' scores that it was computed from.
            figures: Pictures of it.
        """
        from bcd.evaluation.evaluation import headline
        from bcd.evaluation.report import sections, tables

        split = evaluation.split
        found = evaluation.figures()
        self.log_metrics(headline(found))
        rows = [[name, str(value)] for name, value in found.items()]
        self.log_text(table_as_run_csv(["figure", "value"], rows), f"{split}/figures.csv")
        self.log_text(evaluation.model_dump_json(indent=2), f"{split}/evaluation.json")
        self.log_text(tables.headline_table(evaluation).markdown(), f"{split}/metrics.md")
        thresholds = tables.threshold_rows(evaluation)
        self.log_text(thresholds.markdown(), f"{split}/thresholds.md")
        self.log_text(table_as_run_csv(thresholds.header, thresholds.rows), f"{split}/thresholds.csv")
        for name, table in (
            ("neighbours", sections.context_table(evaluation)),
            ("thresholds-in-context", sections.context_threshold_table(evaluation)),
        ):
            if table is not None:
                self.log_text(table.markdown(), f"{split}/{name}.md")
        for figure in figures:
            self.log_file(figure, f"{split}/figures")
        if scores is not None:
            self.log_table(scores, f"{split}/scores.parquet")

    def log_text(self, text: str, artifact: str) -> None:
        """Writes `text` as the artifact of that path."""
        self._client.log_text(self.id, text, artifact)

    def log_file(self, file: Path, folder: str | None = None) -> None:
        """Copies a file into the artifacts."""
        self._client.log_artifact(self.id, str(file), folder)

    def log_table(self, table: pd.DataFrame, artifact: str) -> None:
        """Writes a table as Parquet."""
        path = Path(artifact)
        with TemporaryDirectory() as folder:
            file = Path(folder) / path.name
            table.to_parquet(file, index=False)
            self.log_file(file, None if path.parent == Path() else str(path.parent))

    def has_model(self, name: str) -> bool:
        """Whether a model of that name was logged whole by this run."""
        return name in self._client.get_run(self.id).data.tags.get(_MODELS, "").split()

    @contextmanager
    def logged_model(self, name: str) -> Iterator[str]:
        """Opens a model of this run; it counts as logged when the block has ended.

        Yields:
            The model's id, for a flavour's `log_model`.
        """
        from mlflow.entities import LoggedModelOutput

        run = self._client.get_run(self.id)
        model_id = self._client.create_logged_model(run.info.experiment_id, name=name, source_run_id=self.id).model_id
        yield model_id
        self._client.log_outputs(self.id, [LoggedModelOutput(model_id, step=0)])
        self.set_tags({_MODELS: f"{run.data.tags.get(_MODELS, '')} {name}".strip()})

    def describe(self, note: str) -> None:
        """Writes the description that the run's page shows, as Markdown, with a link to what started the run."""
        self.set_tags({"mlflow.note.content": add_link(note)})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Sets tags, in one request."""
        from mlflow.entities import RunTag

        self._client.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])

    @cached_property
    def _opened(self) -> entities.Run:
        """The run as it was when it was opened: its experiment and when it began, which never change."""
        return self._client.get_run(self.id)

    @cached_property
    def _written(self) -> set[str]:
        """Names of the parameters that the run has."""
        return set(self._opened.data.params)

    def _log_metrics(
        self, steps: Sequence[tuple[int, Mapping[str, float | None]]], model_id: str | None = None
    ) -> None:
        from mlflow.entities import Metric

        # The time follows from the step: the same figure logged again is then the same row, not a second one.
        start = int(self._opened.info.start_time)
        rows = [
            Metric(key, float(value), start + 1000 * step, step, model_id=model_id)
            for step, figures in steps
            for key, value in figures.items()
            if value is not None and key != "epoch"  # the step says it
        ]
        for at in range(0, len(rows), _METRICS):
            self._client.log_batch(self.id, metrics=rows[at : at + _METRICS])


def table_as_run_csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table as CSV, which the MLflow UI shows as a table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def flatten_run_parameters(prefix: str, value: object) -> dict[str, str]:
    """Turns nested options into MLflow parameters, such as `architecture.blocks.0.filters`."""
    if isinstance(value, Mapping):
        pairs = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        pairs = [(str(number), item) for number, item in enumerate(value)]
    else:
        return {prefix: str(value)[:6000]}
    flat: dict[str, str] = {}
    for key, item in pairs:
        flat |= flatten_run_parameters(f"{prefix}.{key}" if prefix else key, item)
    return flat
