"""What bcd keeps of a study and its trials in Optuna's storage, where every machine finds it.

What is short and tells a person something is a user attribute, which Optuna's page shows of each trial. What is long
(recipe, history, pairs, the inputs of the study) is a system attribute, which it does not show. Optuna has no public
call that writes those; this module is the only one that does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

_PREFIX = "bcd."


def note_of_trial(trial: Trial, key: str, value: Any) -> None:
    """Keeps something long of an optuna.Trial, as JSON."""
    trial.storage.set_trial_system_attr(trial._trial_id, _PREFIX + key, value)


def drop_note_of_trial(study: Study, trial: FrozenTrial, key: str) -> None:
    """Keeps nothing any more under that key of a trial that has not ended."""
    study._storage.set_trial_system_attr(trial._trial_id, _PREFIX + key, None)


def read_note_of_trial(trial: FrozenTrial, key: str, default: Any = None) -> Any:
    """Returns what was kept of an optuna.trial.FrozenTrial."""
    return trial.system_attrs.get(_PREFIX + key, default)


def add_waiting_trial(study: Study, params: dict[str, Any], shown: dict[str, Any], **notes: Any) -> None:
    """Puts a trial into the queue, as `optuna.Study.enqueue_trial` does, with what is kept of it.

    Args:
        study: The optuna.Study.
        params: Its point, or a part of it.
        shown: Its user attributes.
        **notes: What is long.
    """
    from optuna.trial import TrialState, create_trial

    kept = {_PREFIX + key: value for key, value in notes.items()}
    system_attrs = {"fixed_params": params, **kept}
    study.add_trial(create_trial(state=TrialState.WAITING, user_attrs=shown, system_attrs=system_attrs))


def note_of_study(study: Study, key: str, value: Any) -> None:
    """Keeps something long of an optuna.Study, as JSON."""
    study._storage.set_study_system_attr(study._study_id, _PREFIX + key, value)


def read_note_of_study(study: Study, key: str) -> Any:
    """Returns what was kept of an optuna.Study; None: nothing."""
    return study._storage.get_study_system_attrs(study._study_id).get(_PREFIX + key)


def read_notes_of_studies(storage: BaseStorage, key: str) -> dict[str, Any]:
    """Returns what was kept of each study of a storage that has such a note, by its name, the newest first."""
    studies = sorted(storage.get_all_studies(), key=lambda each: each._study_id, reverse=True)
    found = {each.study_name: each.system_attrs.get(_PREFIX + key) for each in studies}
    return {name: note for name, note in found.items() if note is not None}
