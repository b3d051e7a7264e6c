"""A trial: takes the next point of a study, trains what it describes epoch by epoch, and tells what came out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS, Architecture, describe_architecture
from bcd.networks.build import build_network
from bcd.networks.cost import Cost, measure_network_cost, measure_network_latency
from bcd.progress import say_progress
from bcd.search.job import Job
from bcd.search.notes import add_waiting_trial, note_of_trial, read_note_of_trial
from bcd.search.queue import DeclinedError, Queue, is_surplus_trial
from bcd.search.records import find_first_attempt_of_trial, read_trial_kind
from bcd.search.space import Recipe, propose
from bcd.search.storage import find_study
from bcd.store.objects import in_use, put
from bcd.training import fit
from bcd.training.checkpoint import State
from bcd.training.loop import CHECKPOINT, DivergedError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

_TRIES = 50  # proposals in a row that may be too large before the study says that the limits leave nothing
_ATTEMPTS = 5  # at the same epoch of a trial, after which it is given up: it kills whoever tries it
_BATCH = 256  # patches at a time, as scoring takes them
_STARTUP = 8  # trials before TPE has something to go by; the first two are known


def run_trial(job: Job) -> None:
    """Takes the next trial of a study and does it; proposals that are too large are ended on the way.

    Raises:
        BcdError: The limits leave no network to try, or the default cannot be trained at all.
    """
    for _ in range(_TRIES):
        if _Trial(job).take() != "too large":
            return
    raise BcdError(
        f"{_TRIES} networks in a row were larger than the search allows.",
        "Raise max_parameters, max_cost or max_latency of the search.",
    )


def open_trials(job: Job, study: Study) -> Queue:
    """Returns the queue of a study's trials: a retried one lies where it began, a reference where all studies' do."""

    def place(trial: FrozenTrial) -> Path:
        if read_trial_kind(trial) == "reference":
            return job.reference_folder(str(trial.user_attrs["label"]))
        return job.folder / f"trial-{find_first_attempt_of_trial(trial)}"

    return Queue(study, job.folder, place)


def state_trial(study: Study, architecture: Architecture, label: str) -> None:
    """Puts an architecture into the queue of a study that somebody wants tried, unless it is in it."""
    text = architecture.model_dump_json()
    if all(read_note_of_trial(trial, "architecture") != text for trial in study.get_trials(deepcopy=False)):
        add_waiting_trial(study, {}, {"kind": "stated", "label": label}, architecture=text)


class _Trial:
    """The trial that this process does."""

    def __init__(self, job: Job) -> None:
        settings = job.load_settings()
        self.job, self.options = job, job.options
        self.study = find_study(settings, job.study, self.options)
        self.queue = open_trials(job, self.study)
        self.end = ""

    def take(self) -> str:
        """Does the next trial and returns how it ended; empty where it was not this process that ended it."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            self.queue.take(
                make_sampler=self._make_sampler,
                may_begin=lambda trial: not is_surplus_trial(self.study, trial, self.options),
                objective=self._try,
            )
        except UpdateFinishedTrialError:
            say_progress("The storage missed this worker for so long that its trial was given to another.")
        return self.end

    def _make_sampler(self, number: int) -> BaseSampler:
        from optuna.samplers import RandomSampler, TPESampler

        # One seed a trial: what is proposed does not depend on where the study was killed.
        seed = self.options.seed + number
        if self.options.sampler != "tpe":  # a grid proposes nothing
            return RandomSampler(seed=seed)
        # Each parameter by itself: jointly is no better in replays (docs/reference/performance.md, Search).
        return TPESampler(n_startup_trials=_STARTUP, seed=seed)

    def _try(self, trial: Trial, place: Path) -> float | tuple[float, float]:
        """Trains one proposal; what it raises tells Optuna how it ended."""
        from optuna import TrialPruned

        recipe = self._make_recipe(trial)
        training = recipe.training.model_copy(update={"epochs": self.options.epochs})
        recipe = recipe.model_copy(update={"training": training})
        note_of_trial(trial, "recipe", recipe.model_dump_json())
        trial.set_user_attr("network", describe_architecture(recipe.architecture))
        title = f"Trial {self._number(trial)}"
        cost = self._note_cost(trial, recipe.architecture)
        self._count_attempt(trial, title)
        say_progress(
            f"{title}: {describe_architecture(recipe.architecture)}, learning rate {training.learning_rate:.2g}."
        )
        try:
            score = self._train(trial, recipe, place, most=self._count_affordable(cost))
        except TrialPruned:
            say_progress(f"{title} was pruned: it lags behind the others, or costs too much to go on.")
            self._note_end(trial, "pruned")
            raise
        except Exception as error:
            self._note_failure(trial, title, error)
            raise
        say_progress(f"{title}: val score {score:.3f}.")
        self._note_end(trial, "complete")
        return (score, float(cost.multiply_adds)) if self.options.objective == "score-and-cost" else score

    def _make_recipe(self, trial: Trial) -> Recipe:
        """Returns what a trial tries: the network that somebody stated as asked for, or a point of the space."""
        stated = read_note_of_trial(self.queue.frozen(trial), "architecture")
        if stated is None:
            return propose(trial, self.job.training, self.job.preparation)
        architecture = Architecture.model_validate_json(stated)
        return Recipe(architecture=architecture, training=self.job.training, preparation=self.job.preparation)

    def _train(self, trial: Trial, recipe: Recipe, place: Path, *, most: int) -> float:
        """Trains on, from where the trial was left, for `most` epochs, and returns the val score."""
        history: list[dict[str, float]] = []
        is_reference = read_trial_kind(self.queue.frozen(trial)) == "reference"

        def report(epoch: int, row: dict[str, float]) -> None:
            history.append(row)
            note_of_trial(trial, "history", history)
            if self.options.objective == "score-and-cost":
                return  # Optuna takes no reports of two objectives
            if epoch not in self.queue.frozen(trial).intermediate_values:
                trial.report(row["val_score"], epoch)
            lags = epoch >= most or (not is_reference and trial.should_prune())
            if epoch < self.options.epochs and lags:
                from optuna import TrialPruned

                raise TrialPruned

        for epoch, row in enumerate(_finished_epochs(place), 1):  # also one that a kill left unreported
            report(epoch, row)
        prepared = self.job.prepare(recipe.preparation)
        settings = self.job.load_settings()
        with in_use(settings, place):  # another machine may have trained it
            trained = fit.train_network(prepared, recipe.architecture, recipe.training, place, on_epoch=report)
            put(settings, place)
        for epoch, row in enumerate(trained.history[len(history) :], len(history) + 1):  # trained by another study
            report(epoch, row)
        return trained.val_score

    def _count_affordable(self, cost: Cost) -> int:
        """Returns how many epochs of a network cost no more than a whole trial of the largest that may be chosen.

        Only what is known or stated can be larger than that; it is tried for comparison, so it may not eat the night.
        """
        if not self.options.pruning:
            return self.options.epochs
        return max(1, int(self.options.epochs * self._allowed_cost() / cost.multiply_adds))

    def _allowed_cost(self) -> float:
        """Returns the multiply-adds of a patch that a network may need."""
        return self.options.max_cost * _measure_trial_cost(PRESETS["compact"]).multiply_adds

    def _note_cost(self, trial: Trial, architecture: Architecture) -> Cost:
        """Notes what the network costs, as Optuna's constraint too, and ends a proposal that costs too much."""
        from optuna import TrialPruned

        cost, frozen = _measure_trial_cost(architecture), self.queue.frozen(trial)
        excess = self._excess(trial, architecture, cost)
        for key, value in (("parameters", cost.parameters), ("multiply_adds", cost.multiply_adds)):
            trial.set_user_attr(key, value)
        trial.set_user_attr("allowed", excess <= 0)
        if not trial.constraints:  # a trial that was killed has it already
            trial.set_constraint("cost", excess)
        # What is known or stated by hand is tried for comparison, whatever it costs.
        if excess > 0 and read_trial_kind(frozen) != "reference" and not read_note_of_trial(frozen, "architecture"):
            self._note_end(trial, "too large")
            if self.options.objective == "score-and-cost":
                raise DeclinedError  # with two objectives nothing can be pruned
            raise TrialPruned
        return cost

    def _excess(self, trial: Trial, architecture: Architecture, cost: Cost) -> float:
        """Returns the share by which the network is over the limit that it breaks most; negative within all."""
        shares = [cost.parameters / self.options.max_parameters, cost.multiply_adds / self._allowed_cost()]
        if self.options.max_latency:
            if "latency" not in trial.user_attrs:  # a trial that was killed keeps what was measured
                trial.set_user_attr(
                    "latency", _time_trial_network(architecture) / _time_trial_network(PRESETS["compact"])
                )
            shares.append(trial.user_attrs["latency"] / self.options.max_latency)
        return max(shares) - 1

    def _count_attempt(self, trial: Trial, title: str) -> None:
        """Gives a trial up that ended its workers several times without finishing one epoch more."""
        frozen = self.queue.frozen(trial)
        epochs = len(read_note_of_trial(frozen, "history", []))
        at, attempts = read_note_of_trial(frozen, "attempts", (epochs, 0))
        attempts = attempts + 1 if at == epochs else 1
        note_of_trial(trial, "attempts", (epochs, attempts))
        if attempts > _ATTEMPTS:
            say_progress(f"{title} is given up: its process was killed {_ATTEMPTS} times after epoch {epochs}.")
            self._note_end(trial, "failed")
            raise DeclinedError

    def _note_failure(self, trial: Trial, title: str, error: Exception) -> None:
        """Notes an error that is this trial's own; one that every trial would have is left to end the study."""
        diverged = isinstance(error, DivergedError)
        everyone_s = not isinstance(error, BcdError) or self._number(trial) == 0
        if everyone_s and not diverged and not _is_out_of_memory(error):
            return
        say_progress(
            f"{title} failed: {error.what if isinstance(error, BcdError) else 'the device has too little memory.'}"
        )
        self._note_end(trial, "diverged" if diverged else "failed")
        raise DeclinedError from error

    def _note_end(self, trial: Trial, end: str) -> None:
        trial.set_user_attr("end", end)
        self.end = end

    def _number(self, trial: Trial) -> int:
        return find_first_attempt_of_trial(self.queue.frozen(trial))


def _finished_epochs(place: Path) -> list[dict[str, float]]:
    """Returns the rows of the epochs that a trial has finished, where it was left unfinished."""
    checkpoint = place / CHECKPOINT
    return State.load(checkpoint).history if checkpoint.exists() else []


def _measure_trial_cost(architecture: Architecture) -> Cost:
    return _measure_json(architecture.model_dump_json())


@cache
def _measure_json(architecture: str) -> Cost:
    return measure_network_cost(build_network(Architecture.model_validate_json(architecture)))


def _time_trial_network(architecture: Architecture) -> float:
    return measure_network_latency(build_network(architecture), _BATCH).milliseconds


def _is_out_of_memory(error: Exception) -> bool:
    """Whether the device had too little memory; each backend has an error of its own for it."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error) or "OOM when" in str(error)
