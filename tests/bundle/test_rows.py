"""The registry's rows, read without MLflow: the same as MLflow says, and whatever somebody deleted by hand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bcd.bundle import rows
from bcd.bundle.aliases import DONE_TAG, find_lost_champion_alias, find_moved_champion, tell_moved_champion
from bcd.bundle.registry import load_bundle, require_version
from bcd.bundle.rows import read_registered_versions
from bcd.cli.doctor import examine_machine
from bcd.errors import BcdError, DamagedError, NotFoundError, UnavailableError
from bcd.gate.history import list_gate_events, list_versions_with_verdicts
from bcd.gate.overrides import force_promotion
from bcd.settings import Settings
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.tracking import store
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import experiment_id, open_mlflow_client

LEE = SignOff("Dr Lee", "the alias was deleted")

HEAVY = ("mlflow", "tensorflow", "keras", "prefect", "optuna", "pandas", "scipy", "sklearn", "matplotlib")

COMMANDS = [
    "status",
    "model list",
    "model history 1",
    "snapshot list",
    "batch list",
    "patient list",
    "batch refusals nowhere",
    "hospital list",
]


@pytest.fixture
def tidied(undecided: Settings, gate: Callable[..., object], tmp_path: Path) -> Settings:
    """A copy of the home with five versions, of which 1 became champion, then 2: somebody will tidy it."""
    gate("1"), gate("2")
    shutil.copytree(undecided.home, tmp_path / "home")
    return undecided.model_copy(update={"home": tmp_path / "home"})


def test_rows_are_what_mlflow_says(undecided: Settings, gate: Callable[..., object]) -> None:
    gate("1"), gate("2")
    found = read_registered_versions(undecided)
    assert [replace(row, files="") for row in found] == rows._ask_server(undecided)
    assert [row.aliases for row in found] == [["previous"], ["anchor", "champion"], [], [], []]
    assert found[0].metrics == {"test_auroc_pooled": 0.953, "test_accuracy_pooled": 0.91}


def test_a_home_without_a_store_has_no_rows_and_gets_none(tmp_path: Path) -> None:
    assert read_registered_versions(Settings(home=tmp_path / "home")) == []
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_told_in_a_sentence(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    settings.mlflow.mkdir(parents=True)
    (settings.mlflow / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(UnavailableError, match=r"mlflow\.db"):
        read_registered_versions(settings)


def test_deleted_runs_models_and_experiments_change_nothing_in_the_story(tidied: Settings) -> None:
    store = open_store(tidied)
    told = [(one.version, one.what, one.verdict) for one in list_gate_events(store)]
    with _database(tidied).begin() as connection:  # as `mlflow gc` deletes them
        for table in ("logged_model_metrics", "logged_model_tags", "logged_model_params", "logged_models"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
        for table in ("metrics", "latest_metrics", "params", "tags", "runs", "experiments"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    shutil.rmtree(tidied.mlflow / "artifacts")

    assert [(one.version, one.what, one.verdict) for one in list_gate_events(store)] == told
    assert [one.metrics for one in list_versions_with_verdicts(tidied)] == [{}] * 5
    with pytest.raises(DamagedError, match="bcd-idc/2"):
        load_bundle(tidied)


def test_versions_deleted_by_hand_are_told_as_gone(tidied: Settings) -> None:
    store = open_store(tidied)
    open_mlflow_client(tidied).delete_model_version(MODEL, "2")
    events = list_gate_events(store)
    assert [one.is_gone for one in events if one.what == "gate"] == [False, True]
    lost = find_lost_champion_alias(read_registered_versions(tidied), store)
    assert lost is not None
    assert lost.challenger == "1"  # the last one that was champion and is still there


def test_a_missing_alias_is_told_with_the_way_back(tidied: Settings) -> None:
    store = open_store(tidied)
    open_mlflow_client(tidied).delete_registered_model_alias(MODEL, "champion")
    with pytest.raises(BcdError) as told:
        require_version(tidied, "champion")
    assert "bcd-idc/2" in told.value.what
    assert "`bcd model promote 2 --by NAME --reason TEXT`" in told.value.fix

    force_promotion(store, "2", LEE)

    assert require_version(tidied, "champion") == "2"
    assert find_lost_champion_alias(read_registered_versions(tidied), store) is None


def test_where_nothing_was_champion_the_way_is_to_retrain(undecided: Settings) -> None:
    with pytest.raises(BcdError) as told:
        require_version(undecided, "champion")
    assert "`bcd retrain`" in told.value.fix


def test_a_version_that_never_was_is_an_error(undecided: Settings, store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"bcd-idc/77\b.*1, 2, 3, 4, 5"):
        list_gate_events(store, "77")
    assert {one.version for one in list_gate_events(store, "3")} == {"bcd-idc/3"}


def test_an_experiment_deleted_by_hand_comes_back(tidied: Settings) -> None:
    client = open_mlflow_client(tidied)
    client.delete_experiment(experiment_id(client))
    store._ready.clear()  # as in the next process
    assert experiment_id(open_mlflow_client(tidied))
    assert [row.version for row in read_registered_versions(tidied)] == ["1", "2", "3", "4", "5"]


def test_what_people_type_all_day_imports_nothing_heavy(tidied: Settings) -> None:
    code = f"""
import json, sys
from bcd.cli.main import app
from bcd.cli.doctor import examine_machine
from bcd.errors import BcdError
for command in {COMMANDS!r}:
    try:
        app(command.split(), standalone_mode=False)
    except BcdError:
        pass
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    environment = {"BCD_HOME": str(tidied.home), "BCD_CATALOG_URL": tidied.catalog_url, "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert "bcd-idc/5" in done.stdout


def _database(settings: Settings) -> sa.Engine:
    return sa.create_engine(f"sqlite:///{settings.mlflow / 'mlflow.db'}")


def test_the_doctor_loads_the_champion_where_it_is_now(tidied: Settings) -> None:
    [champion] = [found for found in examine_machine(tidied) if "champion" in found.what]
    assert (champion.level, "bcd-idc/2" in champion.what) == ("ok", True)
    [row] = [row for row in read_registered_versions(tidied) if "champion" in row.aliases]
    assert row.files.startswith(tidied.home.as_uri())


def test_the_doctor_says_that_the_champion_cannot_be_loaded(tidied: Settings) -> None:
    require_version(tidied, "champion")  # which follows the home
    for weights in tidied.mlflow.rglob("networks.bin"):
        weights.write_bytes(weights.read_bytes()[:-1])
    [fault] = [found for found in examine_machine(tidied) if found.level == "fault"]
    assert "bcd-idc/2" in fault.what


def test_the_doctor_tells_the_way_back_to_the_champion(tidied: Settings) -> None:
    open_mlflow_client(tidied).delete_registered_model_alias(MODEL, "champion")
    [fault] = [found for found in examine_machine(tidied) if found.level == "fault"]
    assert fault.fix.startswith("`bcd model promote 2")


def test_an_alias_that_was_moved_by_hand_is_told_until_a_person_signs_for_it(tidied: Settings) -> None:
    store = open_store(tidied)
    assert find_moved_champion(read_registered_versions(tidied), store) is None
    open_mlflow_client(tidied).set_registered_model_alias(MODEL, "champion", "1")
    moved = find_moved_champion(read_registered_versions(tidied), store)
    assert moved is not None
    assert (moved[0].version, moved[1] and moved[1].challenger) == ("1", "2")
    what, fix = tell_moved_champion(*moved)
    assert re.findall(r"bcd-idc/\d", what) == ["bcd-idc/1", "bcd-idc/2"]
    assert "bcd model promote 1 --by" in fix

    force_promotion(store, "2", LEE)

    assert find_moved_champion(read_registered_versions(tidied), store) is None


def test_a_decision_that_a_killed_process_left_half_done_is_nobody_s_hand(tidied: Settings) -> None:
    client = open_mlflow_client(tidied)
    client.set_registered_model_alias(MODEL, "champion", "1")
    client.delete_model_version_tag(MODEL, "2", DONE_TAG)
    assert find_moved_champion(read_registered_versions(tidied), open_store(tidied)) is None
