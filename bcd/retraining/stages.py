"""A retraining: from a snapshot to a registered challenger, in stages that are each found done or done.

Every stage keeps its result under `work/ID`, beside the plan, and ID follows from the plan alone: a retraining that
was killed goes on where it stopped, and the same retraining again changes nothing.

Examples:
        retraining = write_plan(settings, snapshot)
        study = search_architecture(settings, retraining)
        trained = train_candidate(settings, retraining)
        evaluated = evaluate_candidate(settings, retraining, trained)
        bundle = register_candidate(settings, retraining, trained, evaluated)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from bcd.bundle.card.card import write_card
from bcd.bundle.card.facts import gather_card_facts
from bcd.bundle.engine import describe_engine
from bcd.bundle.probes import draw_tissue_probes
from bcd.bundle.record import BundleRecord
from bcd.bundle.reference import ReferenceStatistics, describe_training, measure_reference_scores
from bcd.bundle.registry import Bundle, load_bundle, register_bundle
from bcd.bundle.write import write_graph
from bcd.errors import BcdError
from bcd.evaluation.report.tables import certified_threshold_table
from bcd.gate.promotion import find_verdict, run_gate
from bcd.gate.rule import Verdict
from bcd.networks.architecture import Architecture, describe_architecture
from bcd.patches import patient_keys
from bcd.retraining.evaluate import EvaluatedNetwork, evaluate_retrained, find_evaluated_retraining
from bcd.retraining.logging import log_epochs_to, log_networks, log_trained, machine_tags, watch_machine
from bcd.retraining.members import collect_members, remove_members
from bcd.retraining.plan import (
    Choice,
    Retraining,
    find_done,
    mark_plan_searched,
    open_retraining_run,
    read_choice,
    write_choice,
)
from bcd.search.records import StudyResult
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.store.objects import in_use, put, require, write_stored
from bcd.tracking.lookup import MODEL, find_tracked_version
from bcd.tracking.store import open_mlflow_client, start_run
from bcd.training.ensemble import TrainedEnsemble, find_trained_ensemble, train_ensemble

if TYPE_CHECKING:
    from bcd.search.study import Elsewhere

TrainElsewhere = Callable[[Settings, Retraining], None]
"""Returns when every network of an ensemble is trained."""


def search_stage(
    settings: Settings,
    retraining: Retraining,
    stated: Mapping[str, Architecture] | None = None,
    elsewhere: Elsewhere | None = None,
) -> StudyResult:
    """Searches on train and val patients, and logs the study, with a run for each trial as it ends.

    Args:
        settings: Where everything lies.
        retraining: What is searched for.
        stated: Architectures to try beside what is proposed, by the names that they are shown by.
        elsewhere: Lets others join, who do the trials and refits; None: processes of this machine do them.
    """
    from bcd.search.plots import draw_study
    from bcd.search.storage import describe_study, study_key
    from bcd.search.study import run_study

    plan = retraining.plan
    asked = (retraining.snapshot, plan.preparation, plan.search, plan.training)
    finished = not stated and "search" in find_done(settings, retraining)[1]
    if finished and (found := _find_study(settings, retraining)):
        mark_plan_searched(settings, retraining)
        return found
    key = study_key(describe_study(*asked), plan.search)
    with (
        open_retraining_run(settings, retraining, stage="search") as parent,
        start_run(
            settings,
            key=f"search/{key}",
            name=f"search on {retraining.snapshot.id[:8]}",
            kind="search",
            parent=parent.id,
        ) as run,
    ):
        run.log_options("search", plan.search)
        run.log_snapshot(retraining.snapshot, context="training", split="train")
        result = run_study(settings, *asked, stated=stated, on_trial=run.log_trial, elsewhere=elsewhere)
        run.log_study(result)
        pictures = settings.work / result.study / "pictures"
        for picture in draw_study(result, pictures):
            run.log_file(picture, "study")
        put(settings, pictures)
        choice = Choice(
            architecture=result.architecture,
            training=result.training,
            preparation=result.preparation,
            study=result.study,
            note=result.note,
        )
        # Not dump_json, which turns a figure that is not a number into null.
        text = json.dumps(TypeAdapter(StudyResult).dump_python(result, mode="json"), indent=2)
        write_stored(settings, _study_file(settings, retraining), text)
        write_choice(settings, retraining, choice)
    return result


def train_stage(
    settings: Settings, retraining: Retraining, train_elsewhere: TrainElsewhere | None = None
) -> TrainedEnsemble:
    """Trains what the search chose, or `compact` where there was no search, logging each epoch as it ends.

    Args:
        settings: Where everything lies.
        retraining: What is trained for.
        train_elsewhere: Has the networks of an ensemble trained by others; None: this process trains them.
    """
    choice = read_choice(settings, retraining)
    found = find_trained(settings, retraining)
    if found is not None and "train" in find_done(settings, retraining)[1]:
        return found
    with (
        open_retraining_run(settings, retraining, choice, stage="train") as run,
        watch_machine(run, retraining.key),
        _outcomes_in_use(settings, retraining),
    ):
        run.log_options("preparation", choice.preparation)
        run.log_options("architecture", choice.architecture)
        run.log_options("training", choice.training)
        run.log_options("ensemble", retraining.plan.ensemble)
        run.log_snapshot(retraining.snapshot, context="training", split="train")
        of_what = {
            "bcd.snapshot": retraining.snapshot.id,
            "bcd.protocol": retraining.snapshot.protocol,
            "bcd.architecture": describe_architecture(choice.architecture),
        }
        run.set_tags(of_what | machine_tags(choice.training.precision))
        run.describe(choice.note)
        if train_elsewhere is not None:
            train_elsewhere(settings, retraining)
            collect_members(settings, retraining)
        trained = train_ensemble(
            retraining.prepare(settings),
            choice.architecture,
            choice.training,
            retraining.plan.ensemble,
            retraining.network(settings),
            on_epoch=log_epochs_to(run, retraining.key),
        )
        put(settings, retraining.network(settings))
        log_trained(run, retraining.key, trained)
        log_networks(run, trained)
        if train_elsewhere is not None:
            remove_members(settings, retraining)  # before the stage is done, after which nobody looks for them
    return trained


def find_trained(settings: Settings, retraining: Retraining) -> TrainedEnsemble | None:
    """Returns the networks of a retraining, whichever machine trained them; None where one is missing."""
    folder = require(settings, retraining.network(settings))
    return find_trained_ensemble(folder, retraining.plan.ensemble)


@contextmanager
def _outcomes_in_use(settings: Settings, retraining: Retraining) -> Iterator[None]:
    """Keeps here what the stages of a retraining leave to each other, from whichever machine, during the block."""
    with (
        in_use(settings, retraining.network(settings)),
        in_use(settings, _graph_folder(settings, retraining)),
        in_use(settings, _evaluation_folder(settings, retraining)),
    ):
        yield


def evaluate_stage(settings: Settings, retraining: Retraining, trained: TrainedEnsemble) -> EvaluatedNetwork:
    """Fits the policy on val patients, evaluates what was trained on test patients, and logs what was found."""
    with _outcomes_in_use(settings, retraining):
        return _evaluate_and_log(settings, retraining, trained)


def _evaluate_and_log(settings: Settings, retraining: Retraining, trained: TrainedEnsemble) -> EvaluatedNetwork:
    evaluated = _evaluate_trained(settings, retraining, trained)
    if "evaluate" in find_done(settings, retraining)[1]:
        return evaluated
    with open_retraining_run(settings, retraining, stage="evaluate") as run:
        run.log_options("evaluation", retraining.plan.evaluation)
        run.log_options("calibrator", evaluated.policy.calibrator)
        for split, evaluation in evaluated.evaluations.items():
            run.log_snapshot(retraining.snapshot, context=split, split=split)
            run.log_evaluation(evaluation, evaluated.scores(split), evaluated.figures(split))
        run.log_text(certified_threshold_table(evaluated.policy.certified).markdown(), "val/certified.md")
        if (stage := evaluated.policy.context) is not None:
            run.log_options("context", stage.model_copy(update={"certified": ()}))
            run.set_tags({"bcd.context": stage.standing})
            if stage.certified:
                run.log_text(certified_threshold_table(stage.certified).markdown(), "val/certified-in-context.md")
    return evaluated


def register_stage(
    settings: Settings, retraining: Retraining, trained: TrainedEnsemble, evaluated: EvaluatedNetwork
) -> Bundle:
    """Registers what was trained, with its policy and its model card, as the next version of the model."""
    version = find_tracked_version(open_mlflow_client(settings), retraining.key)
    if version is not None:
        return load_bundle(settings, version)
    with _outcomes_in_use(settings, retraining):
        return _register(settings, retraining, trained, evaluated)


def _register(
    settings: Settings, retraining: Retraining, trained: TrainedEnsemble, evaluated: EvaluatedNetwork
) -> Bundle:
    test = evaluated.evaluations.get("test")
    record = BundleRecord(
        preparation=read_choice(settings, retraining).preparation,
        architecture=trained.architecture,
        training=trained.training,
        ensemble=trained.options,
        engine=describe_engine(_graph_folder(settings, retraining)),
        policy=evaluated.policy,
        snapshot=retraining.snapshot.id,
        protocol=retraining.snapshot.protocol,
        metrics=test.figures() if test else {},
        reference=_describe_reference(settings, retraining.snapshot, evaluated),
    )
    with open_retraining_run(settings, retraining) as run:
        return register_bundle(
            settings,
            key=retraining.key,
            run_id=run.id,
            networks=trained.paths,
            graph=_graph_folder(settings, retraining),
            record=record,
            example=draw_tissue_probes(2),
            card=write_card(gather_card_facts(settings, record, run.id)),
        )


def _describe_reference(settings: Settings, snapshot: Snapshot, evaluated: EvaluatedNetwork) -> ReferenceStatistics:
    from bcd.store.batches import read_batch_pixels

    train, val = snapshot.of("train"), evaluated.scores("val")
    scores = measure_reference_scores(
        val["logit"], evaluated.policy.calibrator.apply(val["logit"]), patient_keys(val)
    )
    return describe_training(lambda rows: read_batch_pixels(settings, train.iloc[rows]), patient_keys(train), scores)


def _evaluate_trained(settings: Settings, retraining: Retraining, trained: TrainedEnsemble) -> EvaluatedNetwork:
    graph, folder = _graph_folder(settings, retraining), _evaluation_folder(settings, retraining)
    write_graph(trained.paths, graph)
    put(settings, graph)
    evaluated = evaluate_retrained(
        retraining.prepare(settings), graph, retraining.plan.evaluation, folder, turns=trained.options.turns
    )
    put(settings, folder)
    return evaluated


def gate_stage(settings: Settings, retraining: Retraining) -> Verdict:
    """Lets the gate decide on the registered bundle of a retraining.

    Raises:
        BcdError: The bundle is not registered yet.
    """
    version = find_tracked_version(open_mlflow_client(settings), retraining.key)
    if version is None:
        raise BcdError(
            f"The retraining of snapshot {retraining.snapshot.id[:12]} has no registered bundle for the gate.",
            "Evaluate it first: `bcd retrain` does all stages.",
        )
    if is_retraining_finished(settings, retraining):
        return _run_gate(settings, retraining, version, find_done(settings, retraining)[0])
    with open_retraining_run(settings, retraining, stage="gate") as run:
        verdict = _run_gate(settings, retraining, version, run.id)
        run.set_tags({"bcd.verdict": verdict.verdict, "bcd.bundle": f"{MODEL}/{version}"})
        gained = {f"gate_{each.name}_difference": each.value for each in verdict.checks if each.name == "auroc"}
        run.log_metrics(gained)
    return verdict


def _run_gate(settings: Settings, retraining: Retraining, version: str, parent: str | None) -> Verdict:
    from bcd.store.store import open_store

    with open_store(settings) as store:
        return run_gate(
            store,
            key=f"gate/{retraining.key}",
            snapshot=retraining.snapshot,
            challenger=version,
            options=retraining.plan.gate,
            evaluate=retraining.plan.evaluation,
            parent=parent,
        )


def is_retraining_finished(settings: Settings, retraining: Retraining) -> bool:
    """Whether a retraining was done before to its end, and all that it left is still there: there is nothing new."""
    return (
        "gate" in find_done(settings, retraining)[1]
        and find_trained(settings, retraining) is not None
        and _find_verdict(settings, retraining) is not None
    )


def _find_verdict(settings: Settings, retraining: Retraining) -> Verdict | None:
    from bcd.store.store import open_store

    client = open_mlflow_client(settings)
    version = find_tracked_version(client, retraining.key)
    if version is None:
        return None
    with open_store(settings) as store:
        return find_verdict(client, store, f"gate/{retraining.key}", version)


@dataclass(frozen=True)
class Outcome:
    """What a retraining came to.

    Attributes:
        snapshot: What it was made from.
        study: What the search found.
        trained: The networks.
        evaluated: Its evaluation, with the policy.
        verdict: What the gate decided.
    """

    snapshot: Snapshot
    study: StudyResult
    trained: TrainedEnsemble
    evaluated: EvaluatedNetwork
    verdict: Verdict


def read_outcome(settings: Settings, retraining: Retraining) -> Outcome:
    """Reads what the stages of a finished retraining left.

    Raises:
        BcdError: It is not finished.
    """
    study = _find_study(settings, retraining)
    trained = find_trained(settings, retraining)
    verdict = _find_verdict(settings, retraining)
    evaluated = find_evaluated_retraining(require(settings, _evaluation_folder(settings, retraining)))
    if study is None or verdict is None or trained is None or evaluated is None:
        raise BcdError(
            f"The retraining of snapshot {retraining.snapshot.id[:12]} is not finished.", "Run `bcd retrain`."
        )
    return Outcome(snapshot=retraining.snapshot, study=study, trained=trained, evaluated=evaluated, verdict=verdict)


def _study_file(settings: Settings, retraining: Retraining) -> Path:
    return retraining.folder(settings) / "study.json"


def _find_study(settings: Settings, retraining: Retraining) -> StudyResult | None:
    file = require(settings, _study_file(settings, retraining))
    return TypeAdapter(StudyResult).validate_json(file.read_bytes()) if file.exists() else None


def _graph_folder(settings: Settings, retraining: Retraining) -> Path:
    return retraining.folder(settings) / "graph"


def _evaluation_folder(settings: Settings, retraining: Retraining) -> Path:
    return retraining.folder(settings) / "evaluation"
