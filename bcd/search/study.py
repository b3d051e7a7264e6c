"""The study: workers try networks until the budget is spent, the best are refitted, and one is chosen.

It lives in Optuna's storage under a name made of what it searches on, so the same call finds it again, on this
machine or on another: whoever calls works on the same study, and what a killed worker left is continued by the next.
Workers are processes of this machine, or somebody elsewhere whom the caller knows how to ask, and who joins.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS, Architecture
from bcd.progress import say_progress
from bcd.search.job import Job, Part, make_joining_job, make_search_job, prepare_for_trials
from bcd.search.options import SearchOptions
from bcd.search.queue import Queue, Standing
from bcd.search.records import COUNTED, StudyResult, TrialRecord, read_trials
from bcd.search.refit import (
    Refit,
    enqueue_refits,
    find_front,
    open_refits,
    plan_default_refits,
    plan_refits,
    read_refits,
    read_val_for_refits,
    refits_name,
)
from bcd.search.space import Recipe
from bcd.search.storage import (
    describe_study,
    find_study,
    find_study_name,
    open_study,
    quiet_optuna,
    read_study_inputs,
)
from bcd.search.trial import open_trials, state_trial
from bcd.search.verdict import Gain, choose, measure_detectable, measure_gain, tell_detectable, tell_study_verdict
from bcd.search.workers import Workers
from bcd.settings import Settings
from bcd.training.fit import check_training_evidence
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    from optuna import Study

    from bcd.evaluation.metrics.sample import Sample
    from bcd.preprocessing.options import PrepareOptions
    from bcd.snapshots.freeze import Snapshot

CountLeft = Callable[[Standing], int]
"""Returns how many of a queue may run beside those that have ended."""

Elsewhere = Callable[[Job, int], AbstractContextManager[Callable[[], None]]]
"""Lets at most so many others join a study during the block; what it yields replaces those that ended too soon."""

WorkOff = Callable[[Queue, Job, CountLeft], None]
"""Lets a queue be worked on until nothing is left that may begin and nobody works on it any more."""

_GLANCE = 1.0  # seconds between looks at what others do


def run_study(
    settings: Settings,
    snapshot: Snapshot,
    preparation: PrepareOptions,
    options: SearchOptions,
    training: TrainOptions,
    *,
    stated: Mapping[str, Architecture] | None = None,
    on_trial: Callable[[TrialRecord], None] | None = None,
    elsewhere: Elsewhere | None = None,
) -> StudyResult:
    """Runs a study to its budget, joins or continues it, or reads it where it is finished.

    It learns from train patients and compares on val patients; gate and test patients are never read.

    Args:
        settings: Where the storage and the trials' networks lie.
        snapshot: What to search on.
        preparation: How its patches are prepared, but for what the space decides.
        options: How far to go.
        training: How networks are trained; a trial takes the epochs of `options`.
        stated: Architectures to try beside what is proposed, by the names that they are shown by.
        on_trial: Called after every trial that ended while this call ran, whoever did it, but for those that are too
            large.
        elsewhere: Lets others join, who do the trials and refits; None: processes of this machine do them.

    Raises:
        InsufficientEvidenceError: The train or val split has too few patients or one class only.
        BcdError: The study of that name is of something else, its trainings look at no val patient, the limits leave
            no network to try, or no trial finished.
    """
    prepared = prepare_for_trials(settings, snapshot, preparation)
    if not training.min_val_patients:
        raise BcdError(
            "A study compares by val patients, and its trainings look at none (min_val_patients = 0).",
            "Set `min_val_patients` of [training] to at least 1.",
        )
    check_training_evidence(prepared, training)
    inputs = describe_study(snapshot, preparation, options, training)
    with quiet_optuna():
        name = find_study_name(settings, inputs, options)
    job = make_search_job(
        settings, name, snapshot=snapshot, preparation=preparation, training=training, options=options
    )
    workers = Workers(options.workers)
    if elsewhere is None:
        work_off: WorkOff = partial(_work_off, workers=workers)
    else:
        work_off = partial(_let_work, elsewhere=elsewhere)
    try:
        with quiet_optuna():
            study = open_study(settings, name, options, inputs)
            tell = _tell_ended_trials(study, on_trial)
            for label, architecture in (stated or {}).items():
                state_trial(study, architecture, label)
            queue, val = open_trials(job, study), read_val_for_refits(prepared)
            detectable = None
            if options.seeds > 1 and options.best:  # otherwise references and proposals are trained side by side
                work_off(queue, _give(job, "references"), tell(_count_references))
                detectable = _measure_noise(job, work_off, study, val)
            work_off(queue, job, tell(lambda standing: _count_left(options, standing, options.workers)))
            trials = read_trials(study)
            if not any(trial.state == "complete" for trial in trials):
                raise BcdError(f"No trial of {name} finished.", "Lower the learning rate of the training.")
            gains = _run_refits(job, work_off, trials, val)
            return _sum_up(study, trials, gains, job, detectable)
    finally:
        workers.dismiss()


def join_study(
    settings: Settings, name: str, part: Part, *, trials: int, hours: float, heartbeat_seconds: int
) -> list[TrialRecord]:
    """Works on a study that was begun elsewhere, a trial at a time, until nothing of a part of it is left to do.

    Args:
        settings: Where its storage is, and where the networks of the trials done here lie.
        name: Its name.
        part: What of it is worked on.
        trials: Its budget in trials; 0: none.
        hours: Its budget in hours; 0: none.
        heartbeat_seconds: How often a trial tells that it lives.

    Returns:
        The trials of the study that have ended, whoever did them.

    Raises:
        BcdError: There is no such study, its snapshot is not here, or its default cannot be trained at all.
    """
    workers = Workers(1)
    try:
        with quiet_optuna():
            job = make_joining_job(
                settings,
                name,
                read_study_inputs(settings, name),
                part,
                trials=trials,
                hours=hours,
                heartbeat_seconds=heartbeat_seconds,
            )
            if part == "refits":
                queue = open_refits(job, find_study(settings, refits_name(name), job.options))
            else:
                queue = open_trials(job, find_study(settings, name, job.options))
            counts: dict[Part, CountLeft] = {
                "references": _count_references,
                "trials": lambda standing: _count_left(job.options, standing, 1),
                "refits": lambda standing: standing.open.total(),
            }
            _work_off(queue, job, counts[part], workers=workers)
            return read_trials(find_study(settings, name, job.options))
    finally:
        workers.dismiss()


def _give(job: Job, part: Part) -> Job:
    return job.model_copy(update={"part": part})


def _count_references(standing: Standing) -> int:
    return standing.open["reference"]


def _measure_noise(job: Job, work_off: WorkOff, study: Study, val: Sample) -> float | None:
    """Refits the default before anything is tried, and says what gain the study can see."""
    options, default = job.options, next((trial for trial in read_trials(study) if trial.number == 0), None)
    if default is None or default.state != "complete":
        return None
    pairs = _do_refits(job, work_off, plan_default_refits(options))
    whole = [each for each in pairs.values() if each is not None]
    detectable = measure_detectable(whole, val, candidates=options.best)
    if detectable is not None:
        say_progress(tell_detectable(detectable))
    return detectable


def _tell_ended_trials(
    study: Study, on_trial: Callable[[TrialRecord], None] | None
) -> Callable[[CountLeft], CountLeft]:
    """Returns what makes of a count one that, on the way, tells of every trial that has ended since now."""
    told = {trial.number for trial in read_trials(study) if trial.state in COUNTED}

    def tell(count_left: CountLeft) -> CountLeft:
        def look(standing: Standing) -> int:
            if on_trial is not None and standing.ended.total() != len(told):
                for trial in read_trials(study):
                    if trial.number not in told and trial.state in COUNTED:
                        told.add(trial.number)
                        on_trial(trial)
            return count_left(standing)

        return look

    return tell


def _count_left(options: SearchOptions, standing: Standing, at_once: int) -> int:
    """Returns how many trials may run beside those that have ended, of which at most so many begin at once."""
    if 0 < options.hours <= standing.seconds / 3600:
        return standing.open["reference"]  # which no budget pays for
    left = standing.open["reference"] + standing.open["stated"]
    if not options.proposes:
        return left
    return left + (max(options.trials - standing.ended["proposed"], 0) if options.trials else at_once)


def _run_refits(job: Job, work_off: WorkOff, trials: list[TrialRecord], val: Sample) -> list[Gain]:
    """Refits the best trials and the default, and measures what each gains."""
    plan = plan_refits(trials, job.options)
    if not plan:
        return []
    return _measure_gains(plan, _do_refits(job, work_off, plan), val)


def _do_refits(job: Job, work_off: WorkOff, plan: list[Refit]) -> dict[Refit, NDArray[np.float64] | None]:
    """Does the refits of a plan that are not done yet, and returns what each found; None: it diverged."""
    options = job.options
    study = open_study(job.load_settings(), refits_name(job.study), options)
    queue = open_refits(job, study)
    enqueue_refits(queue, plan, options)
    work_off(
        queue,
        _give(job, "refits"),
        lambda _standing: len(plan) - len(read_refits(study, plan, options)),
    )
    return read_refits(study, plan, options)


def _let_work(queue: Queue, job: Job, count_left: CountLeft, *, elsewhere: Elsewhere) -> None:
    """Works a queue off by others, who join for as long as anything is left or under way."""
    standing = queue.look()
    left = count_left(standing)
    if left <= 0 and not standing.running:
        return
    with elsewhere(job, max(1, min(job.options.workers, left))) as keep_up:
        while left > 0 or standing.running:
            keep_up()
            time.sleep(_GLANCE)
            standing = queue.look()
            left = count_left(standing)


def _work_off(queue: Queue, job: Job, count_left: CountLeft, *, workers: Workers) -> None:
    """Works a queue off by processes of this machine."""
    waited = False
    while True:
        standing = queue.look()
        left = count_left(standing)
        if left <= 0 and not standing.running and not workers.busy:
            return
        # Workers that have just started are not seen as running yet.
        for _ in range(min(workers.free, left - max(standing.running, workers.busy))):
            workers.start(job)
        if workers.busy:
            workers.wait(_GLANCE)
            continue
        if not waited:
            say_progress(f"Waiting for other workers, at {standing.running} of this study's trials.")
            waited = True
        time.sleep(_GLANCE)


def _measure_gains(plan: list[Refit], pairs: dict[Refit, NDArray[np.float64] | None], val: Sample) -> list[Gain]:
    """Measures the gain of every candidate of which no refit diverged."""
    refits: dict[int, list[NDArray[np.float64] | None]] = {}
    for refit in plan:
        refits.setdefault(refit.trial, []).append(pairs[refit])
    whole: dict[int, list[NDArray[np.float64]]] = {}
    for trial, mine in refits.items():
        finished = [each for each in mine if each is not None]
        if len(finished) == len(mine):
            whole[trial] = finished
    default, *candidates = refits
    return [
        measure_gain(trial, whole[trial], whole.get(default, []), val, candidates=len(candidates))
        for trial in candidates
        if trial in whole
    ]


def _sum_up(
    study: Study, trials: list[TrialRecord], gains: list[Gain], job: Job, detectable: float | None
) -> StudyResult:
    """Puts together what a finished study found."""
    diverged = any(not gain.default for gain in gains)
    best = choose(gains, default_diverged=diverged)
    default = Recipe(architecture=PRESETS["compact"], training=job.training, preparation=job.preparation)
    chosen = next(trial.recipe for trial in trials if trial.number == best) if best else default
    searched = ("learning_rate", "weight_decay", "stain_jitter", "light_jitter")
    return StudyResult(
        study=study.study_name,
        architecture=chosen.architecture,
        training=job.training.model_copy(update={name: getattr(chosen.training, name) for name in searched}),
        best=best,
        trials=trials,
        note=tell_study_verdict(
            gains, best, seeds=job.options.seeds, default_diverged=diverged, detectable=detectable
        ),
        preparation=chosen.preparation,
        gains=gains,
        detectable=detectable,
        front=find_front(trials),
        importances=_weigh_parameters(study),
    )


def _weigh_parameters(study: Study) -> dict[str, float]:
    """Returns how much of the val score's variance each parameter explains (PED-ANOVA, Watanabe 2023)."""
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get("end") == "complete"]
    complete = [trial for trial in ended if trial.params]  # what was stated by hand is no point of the space
    if len({trial.values[0] for trial in complete}) < 4:
        return {}  # nothing to explain
    from optuna.importance import get_param_importances

    common = sorted(set.intersection(*(set(trial.params) for trial in complete)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that few trials say little, which the page on searching says
        # Negative: of a target of our own, the low values are what it explains.
        weighed = get_param_importances(study, params=common, target=lambda trial: -trial.values[0])
    return {str(name): float(weight) for name, weight in weighed.items()}
