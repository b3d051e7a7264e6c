"""What the queue and the notes of a study take from Optuna beyond its public calls, on the installed version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning"),  # a trial is asked for by hand here
]


@pytest.fixture
def study(tmp_path: Path) -> Any:
    """A study whose trials have heartbeats, and of which a lost one is retried."""
    retry = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1, inherit_intermediate_values=True)
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{tmp_path / 'optuna.db'}",
        heartbeat_interval=1,
        grace_period=1,
        heartbeat_stale_trial_callback=retry,
    )
    return optuna.create_study(storage=storage)


def test_a_running_trial_goes_back_into_the_queue_and_is_taken_again_as_it_is(study: Any) -> None:
    study.enqueue_trial({"width": 3})
    first = study.ask()
    first.suggest_int("width", 1, 5)
    first.report(0.5, 1)
    first.set_user_attr("end", "")
    study._storage.set_trial_system_attr(first._trial_id, "bcd.note", [1, 2])
    assert study._storage.set_trial_state_values(first._trial_id, TrialState.WAITING)
    assert [trial.state for trial in study.get_trials()] == [TrialState.WAITING]
    again = study.ask()
    assert (again.number, again._trial_id) == (first.number, first._trial_id)
    kept = study._storage.get_trial(again._trial_id)
    assert (kept.params, kept.intermediate_values) == ({"width": 3}, {1: 0.5})
    assert (kept.user_attrs, kept.system_attrs["bcd.note"]) == ({"end": ""}, [1, 2])
    assert kept.system_attrs["fixed_params"] == {"width": 3}
    assert len(study.get_trials()) == 1


def test_a_note_of_a_running_trial_is_changed_to_nothing(study: Any) -> None:
    trial = study.ask()
    for value in ("here 0", None):
        study._storage.set_trial_system_attr(trial._trial_id, "bcd.home", value)
        assert study._storage.get_trial(trial._trial_id).system_attrs["bcd.home"] == value


def test_one_that_has_ended_does_not_go_back(study: Any) -> None:
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


def test_a_lost_trial_is_retried_under_another_number_with_its_notes_and_names_the_first(study: Any) -> None:
    trial = study.ask()
    trial.report(0.5, 1)
    study._storage.set_trial_system_attr(trial._trial_id, "bcd.home", "there 0")
    retry = study._storage.get_heartbeat_stale_trial_callback()
    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    retry(study, study._storage.get_trial(trial._trial_id))
    lost, retried = study.get_trials()
    assert (lost.state, retried.state) == (TrialState.FAIL, TrialState.WAITING)
    assert (retried.number, retried.system_attrs["failed_trial"]) == (1, 0)
    assert retried.system_attrs["bcd.home"] == "there 0"  # so that a note of who does it holds the number too
    assert retried.intermediate_values == {1: 0.5}
