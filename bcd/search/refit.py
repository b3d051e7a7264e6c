"""Refits: the best trials and the default, trained again with several seeds, before anything is believed of them.

They are a study of their own, whose queue holds a refit for each trial and seed, so that the same workers share them
out, retry them and go on with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.patches import PERSON
from bcd.progress import say_progress
from bcd.search.job import Job
from bcd.search.notes import note_of_trial, read_note_of_trial
from bcd.search.options import SearchOptions
from bcd.search.queue import DeclinedError, Queue
from bcd.search.records import SURPLUS, TrialRecord, read_trials
from bcd.search.storage import find_study
from bcd.store.objects import in_use, put
from bcd.training import fit
from bcd.training.fit import find_trained_network
from bcd.training.loop import DivergedError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

    from bcd.evaluation.metrics.sample import Sample
    from bcd.preprocessing.prepared import PreparedSnapshot

_SUFFIX = "-refits"

_MOST = 2**20  # as large as a seed gets, and larger than any trial's number


def refits_name(study: str) -> str:
    """Returns the name of the study that holds the refits of a study."""
    return study + _SUFFIX


def _choose_candidates(trials: list[TrialRecord], options: SearchOptions) -> list[TrialRecord]:
    """Returns the trials that may take the default's place: the best within the limits, best first."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.allowed and trial.number != 0]
    if options.objective == "score-and-cost":
        complete = [trial for trial in complete if trial.number in find_front(trials)]
    return sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))[: options.best]


def find_front(trials: list[TrialRecord]) -> list[int]:
    """Returns the numbers of the complete trials within the limits that none beats in both score and cost."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.allowed and trial.value is not None]
    front: list[int] = []
    best = -np.inf
    for trial in sorted(complete, key=lambda trial: (trial.multiply_adds, -(trial.value or 0.0), trial.number)):
        if (trial.value or 0.0) > best:
            front.append(trial.number)
            best = trial.value or 0.0
    return front


@dataclass(frozen=True, order=True)
class Refit:
    """A trial to be trained again.

    Attributes:
        trial: Its number.
        seed: What its seed is greater by.
    """

    trial: int
    seed: int


def plan_refits(trials: list[TrialRecord], options: SearchOptions) -> list[Refit]:
    """Plans the refits of the candidates and of the default; none where there is no candidate.

    The seeds are new ones: that of the trial itself was lucky, or it would be no candidate. One seed alone is the
    trial's own, whose network is there already.
    """
    candidates = _choose_candidates(trials, options)
    if not candidates:
        return []
    default = plan_default_refits(options)
    return default + [Refit(trial.number, refit.seed) for trial in candidates for refit in default]


def plan_default_refits(options: SearchOptions) -> list[Refit]:
    """Plans the refits of the default, which tell how much seeds and patients vary before anything is tried."""
    return [Refit(0, seed) for seed in ([0] if options.seeds == 1 else range(1, options.seeds + 1))]


def enqueue_refits(queue: Queue, plan: list[Refit], options: SearchOptions) -> None:
    """Puts the refits of a plan into the queue that are not in it yet."""
    from optuna.trial import TrialState

    with queue.choosing():
        known = {
            _read_refit(trial)
            for trial in queue.study.get_trials(deepcopy=False)
            if trial.state != TrialState.FAIL or "end" in trial.user_attrs
        }
        for refit in plan:
            if (refit, options.refit_epochs) not in known:
                queue.study.enqueue_trial({"trial": refit.trial, "seed": refit.seed, "epochs": options.refit_epochs})


def read_refits(study: Study, plan: list[Refit], options: SearchOptions) -> dict[Refit, NDArray[np.float64] | None]:
    """Returns the pairs that each network of a plan ranks rightly, of the refits that have ended; None: diverged."""
    ended = {}
    for trial in study.get_trials(deepcopy=False):
        refit, epochs = _read_refit(trial)
        if trial.user_attrs.get("end") not in (None, SURPLUS) and refit in plan and epochs == options.refit_epochs:
            pairs = read_note_of_trial(trial, "pairs")
            ended[refit] = None if pairs is None else np.array(pairs, np.float64)
    return ended


def read_val_for_refits(prepared: PreparedSnapshot, logits: NDArray[Any] | None = None) -> Sample:
    """Returns the val patches as a sample, with logits in the place of probabilities: only their order counts."""
    from bcd.evaluation.metrics.sample import Sample

    patches = prepared.snapshot.of("val")
    groups = patches.groupby(PERSON, sort=True, observed=True)
    positive = patches["label"].to_numpy() == 1
    return Sample(
        positive=positive,
        probability=np.zeros(len(patches)) if logits is None else logits.astype(np.float64),
        patient=groups.ngroup().to_numpy().astype(np.intp),
        patients=[(str(hospital), str(patient)) for hospital, patient in groups.size().index],
    )


def open_refits(job: Job, study: Study) -> Queue:
    """Returns the queue of a study's refits; one with the trial's own seed and epochs lies where the trial does."""
    folder = job.load_settings().work / str(study.study_name)

    def place(trial: FrozenTrial) -> Path:
        refit, epochs = _read_refit(trial)
        if refit.trial == 0:
            return job.reference_folder("compact", refit.seed, epochs)
        if refit.seed == 0 and epochs in (0, job.options.epochs):
            return job.folder / f"trial-{refit.trial}"
        return folder / f"trial-{refit.trial}-seed-{refit.seed}-epochs-{epochs or job.options.epochs}"

    return Queue(study, folder, place)


def run_refit(job: Job) -> None:
    """Takes the next refit of a study and does it; where its network is trained already, another one after it."""
    from optuna.samplers import RandomSampler
    from optuna.trial import TrialState

    settings, options = job.load_settings(), job.options
    trials = {trial.number: trial for trial in read_trials(find_study(settings, job.study, options))}
    study = find_study(settings, refits_name(job.study), options)
    queue = open_refits(job, study)
    trained: list[Refit] = []

    def objective(trial: Trial, folder: Path) -> float:
        for name in ("trial", "seed", "epochs"):
            trial.suggest_int(name, 0, _MOST)
        refit, epochs = _read_refit(queue.frozen(trial))
        with in_use(settings, folder):  # another machine may have trained it
            if find_trained_network(folder) is None:
                trained.append(refit)
            return _train_refit(job, trials[refit.trial], refit, epochs=epochs, trial=trial, folder=folder)

    while not trained and study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        queue.take(
            make_sampler=lambda number: RandomSampler(seed=number),
            may_begin=lambda trial: _is_wanted(study, trial),
            objective=objective,
        )


def _train_refit(job: Job, record: TrialRecord, refit: Refit, *, epochs: int, trial: Trial, folder: Path) -> float:
    """Trains a trial's recipe with another seed and notes how its network ranks the val patches."""
    from bcd.evaluation.metrics.ranking import concordance

    title = f"Refit of trial {refit.trial}, seed {refit.seed}"
    prepared = job.prepare(record.preparation)
    changes = {"seed": record.training.seed + refit.seed, "epochs": epochs or record.training.epochs}
    try:
        trained = fit.train_network(prepared, record.architecture, record.training.model_copy(update=changes), folder)
    except DivergedError as error:
        say_progress(f"{title} failed: {error.what}")
        trial.set_user_attr("end", "diverged")
        raise DeclinedError from error
    put(job.load_settings(), folder)
    logits = trained.predict(prepared.split("val")[0])
    note_of_trial(trial, "pairs", concordance(read_val_for_refits(prepared, logits)).tolist())
    say_progress(f"{title}: val score {trained.val_score:.3f}.")
    trial.set_user_attr("end", "complete")
    return trained.val_score


def _read_refit(trial: FrozenTrial) -> tuple[Refit, int]:
    """Returns which refit a trial of their study is, and its epochs; one that is none has no number."""
    point = trial.system_attrs.get("fixed_params", {"trial": -1, "seed": -1, "epochs": -1})
    return Refit(point["trial"], point["seed"]), point["epochs"]


def _is_wanted(study: Study, trial: FrozenTrial) -> bool:
    """Whether a trial of their study is a refit that no other before it is already."""
    from optuna.trial import TrialState

    mine = _read_refit(trial)
    return mine[0].trial >= 0 and not any(
        _read_refit(other) == mine
        for other in study.get_trials(deepcopy=False)
        if other.number < trial.number and other.state != TrialState.FAIL
    )
