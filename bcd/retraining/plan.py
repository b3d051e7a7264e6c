"""The plan of a retraining, written once and read by every stage; what its search chose; its run and folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from pydantic import Field

from bcd.errors import NotFoundError
from bcd.evaluation.options import EvaluateOptions
from bcd.formats import format_some
from bcd.gate.options import GateOptions
from bcd.networks.architecture import PRESETS, Architecture
from bcd.options import Options
from bcd.patches import SnapshotId
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepared import PreparedSnapshot, prepare_snapshot
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, load_snapshot
from bcd.store.objects import list_stored, require, write_stored
from bcd.tracking.run import Run
from bcd.tracking.store import find_run, open_mlflow_client, start_run
from bcd.training.ensemble import describe_ensemble
from bcd.training.options import EnsembleOptions, TrainOptions

Stage = Literal["search", "train", "evaluate", "gate"]

_STAGES_TAG = "mlflow.bcd.stages"
_PLAN, _CHOICE, _LAST, _SEARCHED = "plan.json", "choice.json", "last-plan", "last-search"


class Plan(Options):
    """What a retraining will do, written once; stages, commands and forms name it by its id.

    Networks that `bcd search --try` adds to the study are no part of it.
    """

    format: Literal[1] = Field(1, description="Version of this format.")
    snapshot: SnapshotId = Field(description="Id of the snapshot that is trained on and evaluated on.")
    protocol: str = Field(description="How the snapshot's patients are split.")
    preparation: PrepareOptions = Field(description="How patches are prepared, unless the search chooses otherwise.")
    search: SearchOptions = Field(description="How far the study goes.")
    training: TrainOptions = Field(description="How networks are trained, unless the search chooses otherwise.")
    ensemble: EnsembleOptions = Field(description="How many networks answer together, in how many turns.")
    evaluation: EvaluateOptions = Field(description="How the policy is fitted and the network is evaluated.")
    gate: GateOptions = Field(description="Rule and margins of the gate; they are no part of the id.")
    architecture: Architecture | None = Field(description="The network to train; null: what the search chooses.")

    @property
    def id(self) -> str:
        """12 hex digits of what is trained and evaluated; another margin of the gate is no other retraining."""
        return hashlib.sha256(self.model_dump_json(exclude={"gate"}).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Retraining:
    """A plan at work, with its snapshot."""

    plan: Plan
    snapshot: Snapshot

    @property
    def key(self) -> str:
        """The id of the plan, by which folder, run and registered version are found again."""
        return self.plan.id

    def folder(self, settings: Settings) -> Path:
        """Returns where the plan and the results of its stages lie."""
        return settings.work / self.key

    def network(self, settings: Settings) -> Path:
        """Returns where its networks are trained."""
        return self.folder(settings) / "network"

    def prepare(self, settings: Settings) -> PreparedSnapshot:
        """Returns its patches, prepared as its search chose, or as planned where there was none."""
        return prepare_snapshot(settings, self.snapshot, read_choice(settings, self).preparation)


class Choice(Options):
    """What a retraining trains, and why."""

    architecture: Architecture
    training: TrainOptions
    preparation: PrepareOptions
    study: str | None
    note: str


def write_plan(
    settings: Settings,
    snapshot: Snapshot,
    *,
    preparation: PrepareOptions | None = None,
    search: SearchOptions | None = None,
    training: TrainOptions | None = None,
    ensemble: EnsembleOptions | None = None,
    gate: GateOptions | None = None,
    architecture: Architecture | None = None,
) -> Retraining:
    """Writes a plan, or finds it written; what is not given is as bcd.toml says, and a search chooses the network."""
    plan = Plan(
        snapshot=snapshot.id,
        protocol=snapshot.protocol,
        preparation=preparation or settings.options("preparation", PrepareOptions),
        search=search or settings.options("search", SearchOptions),
        training=training or settings.options("training", TrainOptions),
        ensemble=ensemble or settings.options("ensemble", EnsembleOptions),
        evaluation=settings.options("evaluation", EvaluateOptions),
        gate=gate or settings.options("gate", GateOptions),
        architecture=architecture,
    )
    file = require(settings, settings.work / plan.id / _PLAN)
    if not file.exists():
        write_stored(settings, file, plan.model_dump_json(indent=2) + "\n")
    write_stored(settings, settings.work / _LAST, plan.id)
    written = Plan.model_validate_json(file.read_bytes())  # with the gate's options that it was written with first
    return Retraining(_for_machine(settings, written), snapshot)


def read_plan(settings: Settings, plan: str = "", *, workers: int = 0) -> Retraining:
    """Reads a plan with its snapshot.

    Args:
        settings: Where it lies.
        plan: Its id, or the beginning of it; empty: the plan that was written last.
        workers: Trials at a time on this machine, which is no part of a plan; 0: as bcd.toml says.

    Raises:
        BcdError: There is no such plan, or several begin so.
    """
    if not plan and require(settings, settings.work / _LAST).exists():
        plan = (settings.work / _LAST).read_text("utf-8")
    found = _find_plans(settings, plan)
    if len(found) != 1:
        which = "No plan is written yet" if not plan else f"{len(found) or 'No'} plans begin with {plan!r}"
        written = sorted(file.parent.name for file in found or list_stored(settings, settings.work, f"*/{_PLAN}"))
        near = [] if not plan else written if found else get_close_matches(plan, written, n=3, cutoff=0.3)
        fix = f"Near ones are {format_some(near, 3)}. " if near else ""
        raise NotFoundError(f"{which}.", f"{fix}`bcd retrain` and `bcd search` write one and print its id.")
    read = Plan.model_validate_json(require(settings, found[0]).read_bytes())
    return Retraining(_for_machine(settings, read, workers), load_snapshot(settings, read.snapshot))


def has_plan(settings: Settings, plan: str) -> bool:
    """Whether there is a plan of this whole id, here or in the store."""
    return re.fullmatch("[0-9a-f]{12}", plan) is not None and len(_find_plans(settings, plan)) == 1


def _find_plans(settings: Settings, plan: str) -> list[Path]:
    """Returns the files of the plans whose id begins so, here or in the store."""
    if not re.fullmatch("[0-9a-f]{1,12}", plan):
        return []
    whole = require(settings, settings.work / plan / _PLAN)  # a whole id spares a look through all that is in work/
    return [whole] if whole.exists() else list_stored(settings, settings.work, f"{plan}*/{_PLAN}")


def _for_machine(settings: Settings, plan: Plan, workers: int = 0) -> Plan:
    """Completes a plan that was read by what is about this machine and no part of it."""
    here = settings.options("search", SearchOptions)
    machine = {
        "workers": workers or here.workers,
        "pool": here.pool,
        "heartbeat_seconds": here.heartbeat_seconds,
    }
    return plan.model_copy(update={"search": plan.search.model_copy(update=machine)})


def find_searched(settings: Settings, snapshot: str = "") -> Retraining | None:
    """Finds the plan of the last search that has chosen; None: there is none, or it is of another snapshot."""
    if not require(settings, settings.work / _SEARCHED).exists():
        return None
    last = read_plan(settings, (settings.work / _SEARCHED).read_text("utf-8"))
    return last if last.snapshot.id.startswith(snapshot) else None


def write_choice(settings: Settings, retraining: Retraining, choice: Choice) -> None:
    """Writes down what the search of a plan chose, and that it was the last search."""
    write_stored(settings, retraining.folder(settings) / _CHOICE, choice.model_dump_json(indent=2))
    mark_plan_searched(settings, retraining)


def mark_plan_searched(settings: Settings, retraining: Retraining) -> None:
    """Writes down that the search of a plan was the last one."""
    write_stored(settings, settings.work / _SEARCHED, retraining.key)


def read_choice(settings: Settings, retraining: Retraining) -> Choice:
    """Reads what the search chose; without one the architecture that was named, or `compact`, as the plan says."""
    return _find_choice(settings, retraining.key) or _choose_without_search(retraining.plan)


def read_choice_of_plan(settings: Settings, plan: str) -> Choice:
    """Reads what was chosen under a plan by its whole id, whose snapshot may be gone.

    Raises:
        BcdError: There is no such plan.
        ValidationError: Another version of bcd wrote it.
    """
    found = _find_choice(settings, plan)
    if found is not None:
        return found
    file = require(settings, settings.work / plan / _PLAN)
    if not file.is_file():
        raise NotFoundError(f"There is no plan {plan}: work/{plan} is not there.", "`bcd retrain` writes plans.")
    return _choose_without_search(Plan.model_validate_json(file.read_bytes()))


def _find_choice(settings: Settings, plan: str) -> Choice | None:
    file = require(settings, settings.work / plan / _CHOICE)
    return Choice.model_validate_json(file.read_bytes()) if file.exists() else None


def _choose_without_search(plan: Plan) -> Choice:
    return Choice(
        architecture=plan.architecture or PRESETS["compact"],
        training=plan.training,
        preparation=plan.preparation,
        study=None,
        note="Named by hand, without a search." if plan.architecture else "The default, without a search.",
    )


@contextmanager
def open_retraining_run(
    settings: Settings, retraining: Retraining, choice: Choice | None = None, *, stage: Stage | None = None
) -> Iterator[Run]:
    """Opens the run of a retraining, whose name says what is trained as soon as that is chosen.

    Args:
        settings: Where the store is.
        retraining: Whose run it is.
        choice: What is trained; None: what its folder says.
        stage: What is done when the block has ended; None: a part of one.
    """
    if choice is None and retraining.folder(settings).exists():
        choice = read_choice(settings, retraining)
    what = "" if choice is None else f" {describe_ensemble(choice.architecture, retraining.plan.ensemble)}"
    # Snapshot and plan come first: the table in the UI shows 20 characters, and most retrainings train the same.
    name = f"retrain {retraining.snapshot.id[:6]} {retraining.key[:4]}{what}"
    with start_run(settings, key=_run_key(retraining), name=name, kind="retrain") as run:
        yield run
        if stage is not None:
            done = find_done(settings, retraining)[1] | {stage}
            run.set_tags({_STAGES_TAG: " ".join(sorted(done))})


def find_done(settings: Settings, retraining: Retraining) -> tuple[str | None, set[str]]:
    """Returns the id of a retraining's run and the stages that were done to their end; None: it never began.

    Whoever finds a stage done leaves the run alone: opened again, a finished run would seem to have lasted until now.
    """
    run = find_run(open_mlflow_client(settings), _run_key(retraining))
    return (None, set()) if run is None else (run.info.run_id, set(run.data.tags.get(_STAGES_TAG, "").split()))


def _run_key(retraining: Retraining) -> str:
    return f"retrain/{retraining.key}"
