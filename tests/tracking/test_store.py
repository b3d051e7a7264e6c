from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.errors import BcdError, UnavailableError
from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.options import EvaluateOptions
from bcd.networks.architecture import PRESETS
from bcd.search.records import StudyResult, TrialRecord
from bcd.settings import Settings
from bcd.tracking.owner import PROCESS_TAG, name_run_owner, run_owner_has_ended
from bcd.tracking.run import flatten_run_parameters
from bcd.tracking.store import (
    connect_mlflow,
    end_killed_mlflow_runs,
    experiment_id,
    lock_mlflow,
    open_mlflow_client,
    own_mlflow_store,
    start_run,
)
from bcd.training.options import TrainOptions

CONNECT = """
import sys
from pathlib import Path
from bcd.tracking.store import own_mlflow_store
from bcd.settings import Settings
own_mlflow_store(Settings(home=Path(sys.argv[1])))
"""


@pytest.fixture
def run(settings):
    with start_run(settings, key="k", name="a run", kind="train") as opened:
        yield opened


def read(settings, run_id):
    return open_mlflow_client(settings).get_run(run_id)


def runs(settings, kind):
    client = open_mlflow_client(settings)
    return client.search_runs([experiment_id(client)], f"tags.`bcd.kind` = '{kind}'")


def test_the_server_can_be_started_while_somebody_asks_it_in_vain(settings):
    """Regression: a training waited for the server that was killed, and `bcd up` waited for the training."""
    with lock_mlflow(settings):  # as of a run that is being opened
        starting = threading.Thread(target=own_mlflow_store, args=(settings,))
        starting.start()
        starting.join(30)
        was_waiting = starting.is_alive()
    starting.join()
    assert not was_waiting


def test_processes_that_meet_at_a_fresh_store_all_get_in(tmp_path):
    """Eight of eight died in Alembic without the lock."""
    command = [sys.executable, "-c", CONNECT, str(tmp_path / "home")]
    root = Path(__file__).parents[2]
    started = [subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    faults = [process.communicate()[1] for process in started]

    assert [process.returncode for process in started] == [0, 0], faults
    assert faults == ["", ""]


def test_all_state_is_under_home(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with start_run(settings, key="k", name="n", kind="train") as run:
        run.log_text("text", "note.md")

    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert read(settings, run.id).info.artifact_uri.startswith((settings.mlflow / "artifacts").as_uri())


def test_settings_win_over_the_variable_and_both_over_the_own_store(settings, tmp_path, monkeypatch):
    import mlflow

    other = Settings(home=tmp_path / "other")
    connect_mlflow(settings)
    assert mlflow.get_tracking_uri() == own_mlflow_store(settings)
    assert "MLFLOW_TRACKING_URI" not in os.environ  # one home's store must not become the next one's

    monkeypatch.setenv("MLFLOW_TRACKING_URI", own_mlflow_store(settings))
    connect_mlflow(other)
    assert mlflow.get_tracking_uri() == own_mlflow_store(settings)

    with pytest.raises(BcdError, match=r"127\.0\.0\.1:9"):
        connect_mlflow(settings.model_copy(update={"mlflow_url": "http://127.0.0.1:9"}))


def test_a_server_that_does_not_answer_is_told_at_once(settings):
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:9\b.*`bcd up`"):
        connect_mlflow(settings.model_copy(update={"mlflow_url": "http://127.0.0.1:9"}))
    assert time.monotonic() - begun < 5


def test_the_same_key_continues_the_same_run(settings):
    with start_run(settings, key="k", name="first", kind="train") as first:
        first.log_metrics({"auroc": 0.9})
    with start_run(settings, key="k", name="second", kind="train", tags={"more": "1"}) as second:
        assert read(settings, second.id).info.status == "RUNNING"

    assert first.id == second.id
    (found,) = runs(settings, "train")
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "second"
    assert found.data.metrics == {"auroc": 0.9}
    assert found.data.tags["more"] == "1"


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no such patch"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_run_that_breaks_says_so_until_it_is_fixed(settings, error, status):
    with pytest.raises(type(error)), start_run(settings, key="k", name="n", kind="train") as run:
        raise error
    broken = read(settings, run.id)
    assert broken.info.status == status
    assert broken.data.tags["bcd.error"].startswith(type(error).__name__)

    with start_run(settings, key="k", name="n", kind="train"):
        pass
    fixed = read(settings, run.id)
    assert fixed.info.status == "FINISHED"
    assert "bcd.error" not in fixed.data.tags


def test_runs_nest_in_the_table_of_the_ui(settings):
    with (
        start_run(settings, key="a", name="retrain", kind="retrain") as parent,
        start_run(settings, key="b", name="train", kind="train", parent=parent.id) as child,
    ):
        pass

    assert read(settings, child.id).data.tags["mlflow.parentRunId"] == parent.id


def test_options_are_parameters_by_name(settings, run):
    for _ in range(2):
        run.log_options("architecture", PRESETS["compact"])
        run.log_options("training", TrainOptions())

    params = read(settings, run.id).data.params
    assert params["training.learning_rate"] == "0.002"
    assert params["architecture.stages.0.filters"] == str(PRESETS["compact"].stages[0].filters)


def test_what_a_run_is_logged_with_costs_few_requests(settings, run, monkeypatch):
    from mlflow import MlflowClient

    asked = Counter()

    def count(name):
        method = getattr(MlflowClient, name)

        def counted(*arguments, **named):
            asked[name] += 1
            return method(*arguments, **named)

        monkeypatch.setattr(MlflowClient, name, counted)

    for name in ("get_run", "set_tag", "log_batch", "get_experiment_by_name"):
        count(name)
    run.log_options("training", TrainOptions())
    run.log_options("architecture", PRESETS["compact"])
    run.log_metrics({"auroc": 0.9})
    run.log_metrics({"auroc": 0.91}, step=1)
    run.set_tags({"bcd.snapshot": "4f1c", "bcd.protocol": "dealt", "bcd.device": "2 CPU cores"})
    with start_run(settings, key="k", name="continued", kind="train"):
        pass

    assert asked == {"log_batch": 6}  # each of the above, and of tags all at once
    logged = read(settings, run.id).data
    assert (logged.metrics["auroc"], logged.tags["bcd.protocol"], logged.tags["bcd.device"]) == (
        0.91,
        "dealt",
        "2 CPU cores",
    )


def test_an_option_that_changed_stays_as_it_was_written_first(settings, run):
    run.log_options("training", {"epochs": 1})
    run.log_options("training", {"epochs": 2, "seed": 3})
    with start_run(settings, key="k", name="continued", kind="train") as continued:
        continued.log_options("training", {"epochs": 4})

    params = read(settings, run.id).data.params
    assert (params["training.epochs"], params["training.seed"]) == ("1", "3")


def test_flat_names_lose_nothing():
    nested = {"levels": [0.8, 0.95], "stages": [{"filters": 16}, {"filters": 32}], "stem": None}

    assert flatten_run_parameters("a", nested) == {
        "a.levels": "[0.8, 0.95]",
        "a.stages.0.filters": "16",
        "a.stages.1.filters": "32",
        "a.stem": "None",
    }


def test_epochs_logged_again_after_a_kill_are_not_doubled(settings, run):
    history = [{"epoch": 1, "loss": 0.5, "val_auroc": 0.8}, {"epoch": 2, "loss": 0.4, "val_auroc": 0.85}]
    run.log_metrics(history[0], step=1)
    run.log_history(history)
    run.log_history(history)

    found = open_mlflow_client(settings).get_metric_history(run.id, "loss")
    assert [(metric.step, metric.value) for metric in found] == [(1, 0.5), (2, 0.4)]
    assert "epoch" not in read(settings, run.id).data.metrics


def test_a_snapshot_is_the_dataset_that_runs_share(settings, run, make_hospital):
    snapshot = make_hospital(settings)
    run.log_snapshot(snapshot, context="training", split="train")
    run.log_snapshot(snapshot, context="training", split="train")

    (found,) = read(settings, run.id).inputs.dataset_inputs
    assert found.dataset.name == f"{snapshot.id[:8]} train dealt"
    assert found.dataset.digest == snapshot.id[:36]
    assert '"num_rows": 24' in found.dataset.profile


def test_a_study_is_a_run_with_its_trials_below(settings, run):
    def trial(number, state, value):
        return TrialRecord(
            number=number,
            state=state,
            value=value,
            params={"width": 16},
            architecture=PRESETS["compact"],
            training=TrainOptions(),
            parameters=300_000,
            multiply_adds=1_000_000,
            seconds=2.0,
            history=[{"val_auroc": 0.7, "seconds": 1.0}],
        )

    trials = [trial(0, "complete", 0.9), trial(1, "pruned", 0.95), trial(2, "diverged", None)]
    study = StudyResult("study-1", PRESETS["compact"], TrainOptions(), 0, trials, "Trial 0 is the best.")
    run.log_trial(trials[0])  # as soon as it ended
    for _ in range(2):
        run.log_study(study)

    children = sorted(runs(settings, "trial"), key=lambda found: found.info.run_name)
    assert [found.info.run_name for found in children] == ["trial 0", "trial 1 pruned", "trial 2 diverged"]
    assert [found.info.status for found in children] == ["FINISHED", "KILLED", "FAILED"]
    assert [found.data.tags["bcd.state"] for found in children] == ["complete", "pruned", "diverged"]
    assert {found.data.tags["mlflow.parentRunId"] for found in children} == {run.id}
    assert children[0].data.params["trial.width"] == "16"
    whole = read(settings, run.id).data
    assert whole.metrics["best_val_score"] == 0.9  # not the pruned trial's, which was not finished
    assert whole.tags["mlflow.note.content"] == "Trial 0 is the best."


def test_an_evaluation_is_figures_tables_pictures_and_the_scores(settings, run, tmp_path):
    random = np.random.default_rng(1)
    labels = np.tile([0, 1], 200)
    scores = pd.DataFrame(
        {
            "hospital": "h1",
            "patient": np.repeat(np.arange(20).astype(str), 20),
            "slide": "1",
            "x": 50 * np.arange(400) + 1,
            "y": 1,
            "label": labels,
            "split": "test",
            "probability": np.clip(0.2 + 0.6 * labels + random.normal(0, 0.3, 400), 0.001, 0.999),
        }
    )
    evaluation = evaluate_scores(scores, EvaluateOptions(resamples=100), snapshot="a" * 64, split="test")
    picture = tmp_path / "roc.png"
    picture.write_bytes(b"png")

    run.log_evaluation(evaluation, scores, [picture])

    found = read(settings, run.id)
    folder = Path(found.info.artifact_uri.removeprefix("file://")) / "test"
    assert found.data.metrics["test_auroc_pooled"] == pytest.approx(evaluation.pooled["auroc"].value)
    assert len(found.data.metrics) <= 15
    assert len((folder / "figures.csv").read_text().splitlines()) == 1 + len(evaluation.figures()) > 100
    assert type(evaluation).model_validate_json((folder / "evaluation.json").read_text()) == evaluation
    assert len((folder / "thresholds.csv").read_text().splitlines()) == 6
    assert (folder / "thresholds.md").exists()
    assert (folder / "figures" / "roc.png").exists()
    assert len(pd.read_parquet(folder / "scores.parquet")) == 400


KILLED = """
import os, sys
from pathlib import Path
from bcd.tracking.store import start_run
from bcd.settings import Settings
with start_run(Settings(home=Path(sys.argv[1])), key="killed", name="killed", kind="train") as run:
    print(run.id, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_the_run_of_a_killed_process_is_killed_and_no_other(settings, run):
    command = [sys.executable, "-c", KILLED, str(settings.home)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    with start_run(
        settings, key="elsewhere", name="on another machine", kind="train", tags={PROCESS_TAG: "there 1 1.0"}
    ):
        assert read(settings, killed).info.status == "RUNNING"
        assert end_killed_mlflow_runs(settings) == 1
        assert {each.info.run_name: each.info.status for each in runs(settings, "train")} == {
            "killed": "KILLED",
            "a run": "RUNNING",
            "on another machine": "RUNNING",
        }
        assert end_killed_mlflow_runs(settings) == 0


def test_a_process_id_that_somebody_else_has_now_is_no_sign_of_life():
    machine, process, started = name_run_owner().split()
    assert not run_owner_has_ended(name_run_owner())
    assert run_owner_has_ended(f"{machine} {process} {started}0")
    assert not run_owner_has_ended(f"elsewhere {process} {started}0")
    assert not run_owner_has_ended("")
