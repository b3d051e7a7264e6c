"""What Optuna's page shows of a study: a name that tells it, the names of its figures, and no wall of JSON."""

from __future__ import annotations

import re
from collections.abc import Callable

import optuna
from workbench import Bench

from bcd.networks.architecture import PRESETS
from bcd.search.notes import add_waiting_trial, note_of_trial, read_note_of_trial
from bcd.search.options import SearchOptions
from bcd.search.records import StudyResult
from bcd.search.storage import find_study
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot

Study = Callable[..., StudyResult]


def test_a_study_s_name_tells_date_and_snapshot_and_stays_on_later_days(
    study: Study, bench: Bench, settings: Settings, snapshot: Snapshot
) -> None:
    options = SearchOptions(trials=1, seeds=1)
    name = study(options).study
    date, key = re.fullmatch(r"(\d{4}-\d\d-\d\d)-([0-9a-f]{8}-[0-9a-f]{6})", name).groups()
    assert key.startswith(snapshot.id[:8])
    opened = find_study(settings, name, options)
    earlier = optuna.create_study(storage=opened._storage, study_name=f"2020-01-02-{key}", direction="maximize")
    optuna.delete_study(study_name=name, storage=opened._storage)
    assert date != "2020-01-02"
    assert study(options).study == earlier.study_name  # as if it had been begun on another day


def test_what_the_page_shows_of_a_study_is_short_and_named(study: Study, bench: Bench, settings: Settings) -> None:
    options = SearchOptions(trials=2, seeds=2, best=1, epochs=3)
    result = study(options, stated={"mine": PRESETS["compact"].model_copy(update={"normalisation": "group"})})
    for name in (result.study, f"{result.study}-refits"):
        opened = find_study(settings, name, options)
        assert opened.metric_names == ["val score"]
        attributes = [opened.user_attrs, *(trial.user_attrs for trial in opened.get_trials())]
        values = [str(value) for each in attributes for value in each.values()]
        assert values
        assert max(map(len, values)) < 200
        assert not any("{" in value or "[" in value for value in values)
    shown = find_study(settings, result.study, options).get_trials()[0].user_attrs
    assert (shown["network"], shown["label"], shown["end"]) == ("compact", "compact", "complete")


def test_what_is_kept_of_a_trial_survives_its_retry_on_another_machine() -> None:
    """Of Optuna: a trial that is retried takes its system attributes along, and a waiting one keeps those it has."""
    study = optuna.create_study()
    add_waiting_trial(study, {"x": 1}, {"label": "one"}, architecture="{}")
    trial = study.ask({"x": optuna.distributions.IntDistribution(0, 9)})
    note_of_trial(trial, "history", [{"val_score": 0.5}])
    optuna.storages.RetryHeartbeatStaleTrialCallback()(study, study.get_trials()[0])
    _, again = study.get_trials()
    assert (again.user_attrs["label"], again.system_attrs["fixed_params"]) == ("one", {"x": 1})
    assert read_note_of_trial(again, "architecture") == "{}"
    assert read_note_of_trial(again, "history") == [{"val_score": 0.5}]
