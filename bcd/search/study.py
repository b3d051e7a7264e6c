"""The Optuna study: TPE proposes networks, each is trained for a few epochs, and poor ones are cut.

It lives in Optuna's storage under a name made of what it searches on, so the same call finds it again: a
killed study goes on with the trial, and within it after the epoch, that it was killed in.
"""

from __future__ import annotations

import fcntl
import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS, Architecture, describe
from bcd.networks.build import Cost, build_network, measure_cost
from bcd.progress import say
from bcd.search.options import SearchOptions
from bcd.search.records import StudyResult, TrialRecord, note_trial, read_trial, sum_up
from bcd.search.space import DEFAULT, propose
from bcd.settings import Settings
from bcd.training.fit import DivergedError, check_evidence, train_network
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    from bcd.preprocessing.prepared import PreparedSnapshot

_TRIES = 50  # proposals in a row that may be too large before the study says that the limits leave nothing


def study_name(prepared: PreparedSnapshot, options: SearchOptions, training: TrainOptions) -> str:
    """Returns the name of the study of a snapshot under these options, whatever the number of trials."""
    parts = [prepared.snapshot.id, prepared.options.fingerprint(), training.fingerprint()]
    parts.append(options.model_copy(update={"trials": 1}).fingerprint())
    return f"study-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:12]}"


def run_study(
    settings: Settings,
    prepared: PreparedSnapshot,
    options: SearchOptions,
    training: TrainOptions,
    *,
    on_trial: Callable[[TrialRecord], None] | None = None,
) -> StudyResult:
    """Runs a study to its number of trials, continues it, or reads it where it is finished.

    It learns from train patients and compares on val patients; gate and test patients are never read.

    Args:
        settings: Where the storage and the trials' networks lie.
        prepared: The snapshot to search on.
        options: How far to go.
        training: How networks are trained; a trial takes the epochs of `options`.
        on_trial: Called after every trial of this call that ended.

    Raises:
        InsufficientEvidenceError: The train or val split has too few patients or one class only.
        BcdError: The limits leave no network to try, or no trial finished.
    """
    check_evidence(prepared, training)
    name = study_name(prepared, options, training)
    with _alone(settings.work / name), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=_experimental())
        study = _open(settings, name, options)
        _Search(study, settings.work / name, prepared, options, training).run(on_trial)
        trials = _ended(study)
    if not any(trial.state == "complete" for trial in trials):
        raise BcdError(f"No trial of {name} finished.", "Lower the learning rate of the training.")
    return sum_up(name, trials, training)


class _Search:
    """A study in progress."""

    def __init__(
        self,
        study: Any,
        folder: Path,
        prepared: PreparedSnapshot,
        options: SearchOptions,
        training: TrainOptions,
    ) -> None:
        self.study, self.folder, self.prepared = study, folder, prepared
        self.options, self.training = options, training
        self.allowed = int(options.max_cost * _cost(PRESETS["compact"]).multiply_adds)

    def run(self, on_trial: Callable[[TrialRecord], None] | None) -> None:
        """Tries networks until the number is reached."""
        too_large = 0
        while (tried := sum(trial.state != "too large" for trial in _ended(self.study))) < self.options.trials:
            trial = self._next()
            end = self._try(trial, f"Trial {trial.number} ({tried + 1} of {self.options.trials})")
            too_large = too_large + 1 if end == "too large" else 0
            if too_large > _TRIES:
                raise BcdError(
                    f"{_TRIES} networks in a row were larger than the search allows.",
                    "Raise max_parameters or max_cost of the search.",
                )
            if on_trial is not None:
                on_trial(read_trial(self.study.get_trials(deepcopy=False)[trial.number]))

    def _next(self) -> Any:
        """Returns the trial that was killed, or a new one."""
        from optuna.samplers import TPESampler
        from optuna.trial import Trial, TrialState

        # One seed a trial: what is proposed does not depend on where the study was killed.
        known = self.study.get_trials(deepcopy=False)
        self.study.sampler = TPESampler(
            n_startup_trials=5, multivariate=True, group=True, seed=self.options.seed + len(known)
        )
        killed = [trial for trial in known if trial.state == TrialState.RUNNING]
        # We hold the study's lock, so whoever ran it is dead. Optuna itself would only repeat it as another.
        return Trial(self.study, killed[0]._trial_id) if killed else self.study.ask()

    def _try(self, trial: Any, title: str) -> str:
        """Trains one proposal and tells the study how it ended."""
        from optuna import TrialPruned
        from optuna.trial import TrialState

        architecture, training = propose(trial, self.training)
        training = training.model_copy(update={"epochs": self.options.epochs})
        note_trial(trial, architecture, training)
        if not self._affordable(trial, architecture):
            return self._end(trial, "too large", state=TrialState.PRUNED)
        say(f"{title}: {describe(architecture)}, learning rate {training.learning_rate:.2g}.")
        history: list[dict[str, float]] = list(trial.user_attrs.get("history", []))

        def report(epoch: int, row: dict[str, float]) -> None:
            history.append(row)
            trial.set_user_attr("history", history)
            trial.report(row["val_auroc"], epoch)
            if epoch < self.options.epochs and trial.should_prune():
                raise TrialPruned

        try:
            trained = train_network(
                self.prepared, architecture, training, self.folder / f"trial-{trial.number}", on_epoch=report
            )
        except TrialPruned:
            say(f"{title} was cut: it lags behind the others.")
            return self._end(trial, "pruned", state=TrialState.PRUNED)
        except DivergedError as error:
            say(f"{title} failed: {error.what}")
            return self._end(trial, "diverged", state=TrialState.FAIL)
        finally:
            _forget()
        trial.set_user_attr("history", trained.history)
        say(f"{title}: AUROC {trained.val_auroc:.3f} on val patients.")
        return self._end(trial, "complete", value=trained.val_auroc)

    def _affordable(self, trial: Any, architecture: Architecture) -> bool:
        cost = _cost(architecture)
        trial.set_user_attr("parameters", cost.parameters)
        trial.set_user_attr("multiply_adds", cost.multiply_adds)
        excess = max(cost.parameters / self.options.max_parameters, cost.multiply_adds / self.allowed) - 1
        if not trial.constraints:  # a trial that was killed has it already
            trial.set_constraint("cost", excess)
        return excess <= 0

    def _end(self, trial: Any, end: str, *, state: Any = None, value: float | None = None) -> str:
        trial.set_user_attr("end", end)
        self.study.tell(trial, value, state=state)
        return end


def _forget() -> None:
    """Lets go of the trial's network, so that memory does not grow with the number of trials."""
    from bcd.networks.backend import keras

    keras.utils.clear_session()


def _cost(architecture: Architecture) -> Cost:
    return measure_cost(build_network(architecture))


def _ended(study: Any) -> list[TrialRecord]:
    return [read_trial(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _open(settings: Settings, name: str, options: SearchOptions) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings.home.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(settings.study_storage, engine_kwargs={"connect_args": {"timeout": 60}})
    # Cuts a trial whose best epoch so far is worse than the median of the others at that epoch.
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=max(1, options.epochs // 3))
    study = optuna.create_study(
        storage=storage, study_name=name, direction="maximize", pruner=pruner, load_if_exists=True
    )
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(DEFAULT)
    return study


def _experimental() -> type[Warning]:
    from optuna.exceptions import ExperimentalWarning

    return ExperimentalWarning  # type: ignore[no-any-return]  # of TPE's `group`


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds a study's lock, which the system takes back from a process that dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another process runs this study; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
