"""The queue of a study: who takes which trial, and what becomes of trials whose worker is gone.

A worker claims its trial's folder, and notes in which home that lies, so that others of this home see at once when it
has died: the trial goes back into the queue as it is, and continues. A worker of another home is missed by its
heartbeats: Optuna ends its trial and puts a copy into the queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from bcd.files import lock_file, whole_file
from bcd.search.notes import drop_note_of_trial, note_of_trial, read_note_of_trial
from bcd.search.options import SearchOptions
from bcd.search.records import SURPLUS, TrialKind, has_ended, read_trial_kind

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


_HOME = "home"  # in which a trial is done, as one of its notes


class DeclinedError(Exception):
    """The worker does not do the trial that it took, or not to its end."""


class _LeftError(BaseException):
    """The worker leaves its trial where it is: no Exception, which Optuna would take for the trial's end."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Standing:
    """How far a study is.

    Attributes:
        ended: Trials that have ended, by kind.
        open: Trials that wait or run, by kind.
        running: Trials that somebody works on.
        seconds: What all but the references took so far.
    """

    ended: Counter[TrialKind]
    open: Counter[TrialKind]
    running: int
    seconds: float


@dataclass(frozen=True)
class Queue:
    """The queue of a study, seen from this machine.

    Attributes:
        study: The optuna.Study.
        folder: Holds the lock that is held while a trial is chosen.
        place: Returns the folder of an optuna.trial.FrozenTrial.
    """

    study: Study
    folder: Path
    place: Callable[[FrozenTrial], Path]

    def take(
        self,
        *,
        make_sampler: Callable[[int], BaseSampler],
        may_begin: Callable[[FrozenTrial], bool],
        objective: Callable[[Trial, Path], float | tuple[float, float]],
    ) -> None:
        """Takes the next trial, one that waits or a new one, and does it.

        Args:
            make_sampler: Returns the optuna sampler that proposes the trial of that number.
            may_begin: Whether an optuna.trial.FrozenTrial is to be done at all; otherwise it is told as surplus.
            objective: Does an optuna.Trial in its folder and returns its value. What it raises, but for a trial that
                it declines or prunes, is raised again, and the trial is left for the next worker to go on with.
        """
        from optuna import TrialPruned

        choosing = self.choosing()
        choosing.acquire()
        held: list[BaseFileLock] = []

        def begin(trial: Trial) -> float | tuple[float, float]:
            frozen = self.frozen(trial)
            if not may_begin(frozen):
                trial.set_user_attr("end", SURPLUS)
                raise DeclinedError
            place = self.place(frozen)
            note_of_trial(trial, _HOME, self._name_owner(trial.number))
            held.append(lock_file(place / "lock"))
            held[-1].acquire()
            choosing.release()
            try:
                return objective(trial, place)
            except (DeclinedError, TrialPruned):
                raise
            except Exception as error:
                raise _LeftError(error) from error

        try:
            self._requeue()
            self.study.sampler = make_sampler(self._next_number())
            self.study.optimize(begin, n_trials=1, catch=(DeclinedError,))
        except _LeftError as left:
            raise left.error from None
        finally:
            choosing.release()
            for each in held:  # not before the trial is told, or it would look abandoned
                each.release()

    def frozen(self, trial: Trial) -> FrozenTrial:
        """Returns an optuna.Trial as the storage has it."""
        frozen: FrozenTrial = self.study._storage.get_trial(trial._trial_id)
        return frozen

    def look(self) -> Standing:
        """Puts back what dead workers left, and returns how far the study is."""
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        with self.choosing():
            self._requeue()
        fail_stale_trials(self.study)
        trials = self.study.get_trials(deepcopy=False)
        return Standing(
            ended=Counter(read_trial_kind(trial) for trial in trials if has_ended(trial)),
            open=Counter(read_trial_kind(trial) for trial in trials if not trial.state.is_finished()),
            running=sum(trial.state == TrialState.RUNNING for trial in trials),
            seconds=sum(
                row["seconds"]
                for trial in trials
                if read_trial_kind(trial) != "reference"
                and (not trial.state.is_finished() or has_ended(trial))  # a retry has the rows of its first attempt
                for row in read_note_of_trial(trial, "history", [])
            ),
        )

    def choosing(self) -> BaseFileLock:
        """Returns the lock that is held while a trial is chosen or put into the queue."""
        return lock_file(self.folder / "lock")

    def _requeue(self) -> None:
        """Puts trials back whose worker on this machine has died; the lock of choosing is held meanwhile."""
        from filelock import Timeout
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # One that began here may be a worker's of another home by now, and its folder still be here.
            if read_note_of_trial(trial, _HOME) != self._name_owner(trial.number):
                continue
            held = lock_file(self.place(trial) / "lock")
            try:
                held.acquire(blocking=False)
            except Timeout:  # its worker is alive
                continue
            # Its own number, so that its folder and its bracket stay; Optuna itself would only repeat it as another.
            with suppress(UpdateFinishedTrialError):  # its heartbeats were missed too, and it is retried already
                drop_note_of_trial(self.study, trial, _HOME)  # before another home may take it
                self.study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            held.release()

    def _name_owner(self, number: int) -> str:
        """Returns what the note of a trial says that this home does; the lock of choosing is held.

        The number is in it: Optuna copies the notes of a trial that it retries.
        """
        file = self.folder / _HOME
        if not file.exists():
            with whole_file(file) as partial:
                partial.write_text(uuid4().hex)
        return f"{file.read_text()} {number}"

    def _next_number(self) -> int:
        """Returns the number of the trial that is taken next, if no other machine is quicker."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        return next((trial.number for trial in trials if trial.state == TrialState.WAITING), len(trials))


def is_surplus_trial(study: Study, trial: FrozenTrial, options: SearchOptions) -> bool:
    """Whether a trial must not begin: it is proposed, and those before it use up what may be."""
    from optuna.trial import TrialState

    if read_trial_kind(trial) != "proposed":
        return False
    before = sum(
        has_ended(other) or (other.state == TrialState.RUNNING and other.number < trial.number)
        for other in study.get_trials(deepcopy=False)
        if other.number != trial.number and read_trial_kind(other) == "proposed"
    )
    return not options.proposes or 0 < options.trials <= before
