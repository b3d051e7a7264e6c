"""What MLflow's table of runs shows when a page of bcd opens it: the columns that matter, sorted, and no others.

MLflow keeps such a view as a tag of the experiment, as its own button "Share" does, and its address names the tag.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from bcd.runtime import read_running_servers

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from bcd.settings import Settings

ViewName = Literal["retrainings", "gate"]

_TAG = "mlflow.sharedViewState."
_FIGURES = (
    "test_auroc_pooled",
    "test_auroc_pooled_low",
    "test_auroc_macro",
    "test_recall_pooled",
    "test_specificity_pooled",
    "test_brier_pooled",
    "gate_auroc_difference",
    "minutes",
)


def _make_runs_view(where: str, tags: tuple[str, ...], figures: tuple[str, ...]) -> dict[str, Any]:
    named, measured = [f"tags.`{name}`" for name in tags], [f"metrics.`{name}`" for name in figures]
    return {
        "searchFilter": where,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": [*named, *measured],
        "columnOrder": [*named, *measured],
        "columnWidths": {**dict.fromkeys(named, 100), **dict.fromkeys(measured, 145)},
    }


_VIEWS: dict[ViewName, dict[str, Any]] = {
    "retrainings": _make_runs_view("tags.`bcd.kind` != 'gate'", ("bcd.verdict", "bcd.snapshot"), _FIGURES),
    "gate": _make_runs_view(
        "tags.`bcd.kind` = 'gate'",
        ("bcd.verdict", "bcd.challenger", "bcd.champion", "bcd.snapshot"),
        ("gate_auroc_difference", "gate_recall_difference", "gate_specificity_difference"),
    ),
}


def keep_views(client: MlflowClient, experiment: str) -> None:
    """Writes the views into the experiment, unless they are there."""
    known = client.get_experiment(experiment).tags
    for name, state in _VIEWS.items():
        if known.get(tag := _TAG + name) != (text := json.dumps(state)):
            client.set_experiment_tag(experiment, tag, text)


def view_page(server: str, experiment: str, name: ViewName = "retrainings") -> str:
    """Returns the address of a view; MLflow's front page takes every visitor for one of its GenAI part."""
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={name}"


def find_run_page(settings: Settings, run_id: str) -> str:
    """Returns the address of a run's page; empty where no server of MLflow is known."""
    from bcd.tracking.store import experiment_id, open_client

    server = settings.mlflow_url or read_running_servers(settings).get("urls", {}).get("mlflow", "")
    if not server.startswith("http") or not run_id:
        return ""
    return f"{server}/#/experiments/{experiment_id(open_client(settings))}/runs/{run_id}"
