"""The table of runs opens on what matters: the views, as MLflow keeps them."""

from __future__ import annotations

import json

from bcd.settings import Settings
from bcd.tracking import store
from bcd.tracking.origin import started_from, strip_mlflow_link
from bcd.tracking.store import experiment_id, open_mlflow_client, start_run
from bcd.tracking.view import view_page


def read_views(settings: Settings) -> dict[str, dict[str, object]]:
    client = open_mlflow_client(settings)
    tags = client.get_experiment(experiment_id(client)).tags
    prefix = "mlflow.sharedViewState."
    return {tag.removeprefix(prefix): json.loads(value) for tag, value in tags.items() if tag.startswith(prefix)}


def test_the_table_of_retrainings_has_eight_figures_the_verdict_and_the_snapshot(settings: Settings) -> None:
    shown = read_views(settings)["retrainings"]
    columns = shown["selectedColumns"]
    assert isinstance(columns, list)
    assert columns[:2] == ["tags.`bcd.verdict`", "tags.`bcd.snapshot`"]
    assert sum(column.startswith("metrics.") for column in columns) == 8
    assert "metrics.`minutes`" in columns
    assert (shown["orderByKey"], shown["orderByAsc"]) == ("attributes.start_time", False)


def test_runs_of_the_gate_are_a_view_of_their_own(settings: Settings) -> None:
    with (
        start_run(settings, key="a", name="retrain", kind="retrain"),
        start_run(settings, key="b", name="gate", kind="gate"),
    ):
        client = open_mlflow_client(settings)
        found = {
            name: [
                run.info.run_name for run in client.search_runs([experiment_id(client)], str(view["searchFilter"]))
            ]
            for name, view in read_views(settings).items()
        }
    assert found == {
        "retrainings": ["retrain"],
        "gate": ["gate"],
        "retrainings-compared": ["retrain"],
        "trials-compared": [],
    }


def test_runs_are_compared_by_what_matters_and_trials_are_not_folded_away(settings: Settings) -> None:
    views = read_views(settings)
    for name, first in (("retrainings-compared", "test_auroc_pooled"), ("trials-compared", "val_score")):
        charts = views[name]["compareRunCharts"]
        assert isinstance(charts, list)
        assert charts[0]["metricKey"] == first
        assert len({chart["uuid"] for chart in charts}) == len(charts) <= 6
    assert views["trials-compared"]["orderByKey"] != "attributes.start_time"  # by which MLflow nests them


def test_a_view_that_was_changed_by_hand_or_by_an_older_bcd_is_set_right(settings: Settings, monkeypatch) -> None:
    client = open_mlflow_client(settings)
    wanted = read_views(settings)
    client.set_experiment_tag(experiment_id(client), "mlflow.sharedViewState.gate", "{}")
    monkeypatch.setattr(store, "_ready", {})
    assert read_views(settings) == wanted


def test_the_address_names_the_view() -> None:
    page = view_page("http://127.0.0.1:5000", "1")
    assert page == (
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=retrainings"
    )


def test_a_view_of_charts_opens_on_them() -> None:
    assert view_page("http://127.0.0.1:5000", "1", "trials-compared").endswith("&compareRunsMode=CHART")


def test_a_note_links_to_what_started_the_run_and_can_be_read_without(settings: Settings) -> None:
    with start_run(settings, key="a", name="n", kind="train") as run, started_from("http://127.0.0.1:4200/runs/1"):
        run.describe("The default stays.")
    note = open_mlflow_client(settings).get_run(run.id).data.tags["mlflow.note.content"]
    assert note.endswith("(http://127.0.0.1:4200/runs/1)")
    assert strip_mlflow_link(note) == "The default stays."
