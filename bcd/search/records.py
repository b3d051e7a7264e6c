"""What a study found: its trials, read back from the storage, and the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bcd.networks.architecture import Architecture
from bcd.preprocessing.options import PrepareOptions
from bcd.search.notes import read_note_of_trial
from bcd.search.space import Recipe
from bcd.search.verdict import Gain
from bcd.training.options import TrainOptions

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

TrialEnd = Literal["complete", "pruned", "diverged", "failed", "too large"]
"""How a trial ended; `too large` ones were not trained and do not count."""

COUNTED = ("complete", "pruned", "diverged", "failed")

TrialKind = Literal["reference", "stated", "proposed"]
"""Why it is tried: it is a known network, somebody stated it (by hand or in a grid), or the sampler proposed it."""

SURPLUS = "surplus"
"""The end of what a worker took beyond the budget, because others were quicker: it is of no trial."""


@dataclass(frozen=True)
class TrialRecord:
    """One try of a study.

    Attributes:
        number: Its number in the study; 0 is `compact`, the default. A retried one keeps that of its first attempt.
        state: How it ended.
        value: Its patient-wise val score; of a pruned trial, the last; None where there is none.
        params: Its point in the space.
        architecture: The network.
        training: How it was trained.
        parameters: The network's weights.
        multiply_adds: Its multiply-adds a patch.
        seconds: What it took.
        history: A row for every epoch, as in `TrainedNetwork`.
        preparation: How its patches were prepared.
        allowed: Whether the network is within the study's limits; only such a one is chosen.
        kind: Why it is tried.
        label: Which reference it is, what it was stated as, or which earlier trial it repeats; empty: it is new.
    """

    number: int
    state: TrialEnd
    value: float | None
    params: dict[str, Any]
    architecture: Architecture
    training: TrainOptions
    parameters: int
    multiply_adds: int
    seconds: float
    history: list[dict[str, float]]
    preparation: PrepareOptions = field(default_factory=PrepareOptions)
    allowed: bool = True
    kind: TrialKind = "proposed"
    label: str = ""

    @property
    def name(self) -> str:
        """Its number, and which network it is where that is known."""
        return f"{self.number} ({self.label})" if self.label else str(self.number)

    @property
    def recipe(self) -> Recipe:
        """What it tried."""
        return Recipe(architecture=self.architecture, training=self.training, preparation=self.preparation)


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        study: Its name in the Optuna storage.
        architecture: What it chose.
        training: The options to train it with: those given, with what the choice has in rates and augmentation.
        best: The number of the trial that was chosen; 0 is the default.
        trials: All trials by number.
        note: What the study shows and what it does not, in a sentence or two.
        preparation: How the patches are to be prepared for it.
        gains: What each refitted candidate gains over the default.
        detectable: The gain that is seen four times in five with these val patients and seeds; None: not known.
        front: Numbers of the trials that none beats in both score and cost, cheapest first.
        importances: The share of the val score's variance that each parameter explains, where that can be told.
    """

    study: str
    architecture: Architecture
    training: TrainOptions
    best: int
    trials: list[TrialRecord]
    note: str
    preparation: PrepareOptions = field(default_factory=PrepareOptions)
    gains: list[Gain] = field(default_factory=list)
    detectable: float | None = None
    front: list[int] = field(default_factory=list)
    importances: dict[str, float] = field(default_factory=dict)


def find_first_attempt_of_trial(trial: FrozenTrial) -> int:
    """Returns the number of the first attempt of an optuna.trial.FrozenTrial, which names its folder."""
    return int(trial.system_attrs.get("failed_trial", trial.number))


def _is_record(trial: FrozenTrial) -> bool:
    """Whether a trial of the storage has ended and is one of the study's, not an attempt that was given up."""
    return bool(trial.state.is_finished()) and trial.user_attrs.get("end", SURPLUS) != SURPLUS


def read_trial_kind(trial: FrozenTrial) -> TrialKind:
    """Returns why a trial of the storage is tried."""
    kind: TrialKind = trial.user_attrs.get("kind", "proposed")
    return kind


def has_ended(trial: FrozenTrial) -> bool:
    """Whether a trial of the storage has ended as one that counts."""
    return bool(trial.state.is_finished()) and trial.user_attrs.get("end") in COUNTED


def read_trials(study: Study) -> list[TrialRecord]:
    """Reads the trials of an optuna.Study that have ended, by number."""
    ended = [_read_trial(trial) for trial in study.get_trials(deepcopy=False) if _is_record(trial)]
    return sorted(ended, key=lambda trial: trial.number)


def _read_trial(trial: FrozenTrial) -> TrialRecord:
    """Reads a finished optuna.trial.FrozenTrial of a study of ours."""
    shown = trial.user_attrs
    recipe = Recipe.model_validate_json(read_note_of_trial(trial, "recipe"))
    history = read_note_of_trial(trial, "history", [])
    return TrialRecord(
        number=find_first_attempt_of_trial(trial),
        state=shown["end"],
        value=_find_trial_score(trial),
        params=dict(trial.params),
        architecture=recipe.architecture,
        training=recipe.training,
        parameters=shown["parameters"],
        multiply_adds=shown["multiply_adds"],
        seconds=sum(row["seconds"] for row in history),
        history=history,
        preparation=recipe.preparation,
        allowed=shown["allowed"],
        kind=read_trial_kind(trial),
        label=shown.get("label", ""),
    )


def _find_trial_score(trial: FrozenTrial) -> float | None:
    if trial.user_attrs["end"] == "complete":
        return float(trial.values[0])
    history = read_note_of_trial(trial, "history", [])
    return history[-1]["val_score"] if trial.user_attrs["end"] == "pruned" and history else None
