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

ViewName = Literal["retrainings", "gate", "retrainings-compared", "trials-compared"]

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


def _make_charts_view(
    where: str, charts: tuple[dict[str, Any], ...], best: str = "attributes.start_time"
) -> dict[str, Any]:
    # Sorted by anything but the time, runs stand beside those that they belong to and not folded away under them.
    section = "figures"
    shown = [{"uuid": f"chart-{place}", "metricSectionId": section, **chart} for place, chart in enumerate(charts)]
    return {
        **_make_runs_view(where, (), ()),
        "orderByKey": best,
        "compareRunCharts": [{"isGenerated": False, "deleted": False, **chart} for chart in shown],
        "compareRunSections": [{"uuid": section, "name": "Figures", "display": True, "isReordered": True}],
        "isAccordionReordered": True,
    }


def _bars(metric: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": 20}


def _curve(metric: str) -> dict[str, Any]:
    """By epoch."""
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "lineSmoothness": 0,
        "runsCountToCompare": 20,
        "range": {},
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
    }


def _points(across: str, up: str) -> dict[str, Any]:
    return {
        "type": "SCATTER",
        "runsCountToCompare": 100,
        "xaxis": {"key": across, "type": "METRIC"},
        "yaxis": {"key": up, "type": "METRIC"},
    }


_VIEWS: dict[ViewName, dict[str, Any]] = {
    "retrainings": _make_runs_view("tags.`bcd.kind` != 'gate'", ("bcd.verdict", "bcd.snapshot"), _FIGURES),
    "gate": _make_runs_view(
        "tags.`bcd.kind` = 'gate'",
        ("bcd.verdict", "bcd.challenger", "bcd.champion", "bcd.snapshot"),
        ("gate_auroc_difference", "gate_recall_difference", "gate_specificity_difference"),
    ),
    "retrainings-compared": _make_charts_view(
        "tags.`bcd.kind` = 'retrain'",
        (
            _bars("test_auroc_pooled"),
            _bars("test_auroc_macro"),
            _points("test_specificity_pooled", "test_recall_pooled"),
            _curve("val_score"),
            _curve("loss"),
            _bars("minutes"),
        ),
    ),
    "trials-compared": _make_charts_view(
        "tags.`bcd.kind` = 'trial'",
        (_bars("val_score"), _points("multiply_adds", "val_score"), _curve("val_score"), _curve("loss")),
        best="metrics.`val_score`",
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
    mode = "&compareRunsMode=CHART" if name.endswith("-compared") else ""
    return f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={name}{mode}"


def find_run_page(settings: Settings, run_id: str) -> str:
    """Returns the address of a run's page; empty where no server of MLflow is known."""
    if not run_id or not (known := _find_experiment(settings)):
        return ""
    server, experiment = known
    return f"{server}/#/experiments/{experiment}/runs/{run_id}"


def find_view_page(settings: Settings, name: ViewName) -> str:
    """Returns the address of a view; empty where no server of MLflow is known."""
    known = _find_experiment(settings)
    return view_page(*known, name) if known else ""


def _find_experiment(settings: Settings) -> tuple[str, str] | None:
    """Returns the server of MLflow that is known, and its experiment."""
    from bcd.tracking.store import experiment_id, open_mlflow_client

    server = settings.mlflow_url or read_running_servers(settings).get("urls", {}).get("mlflow", "")
    return (server, experiment_id(open_mlflow_client(settings))) if server.startswith("http") else None
