"""What a study found: its trials, read back from the storage, and the words about them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from bcd.networks.architecture import Architecture
from bcd.training.options import TrainOptions

TrialEnd = Literal["complete", "pruned", "diverged", "too large"]


@dataclass(frozen=True)
class TrialRecord:
    """One try of a study.

    Attributes:
        number: Its number in the study, from 0; 0 is the default.
        state: How it ended; `too large` ones were not trained and do not count.
        value: Highest AUROC on val patients, pooled; of a pruned trial, the last; None where there is none.
        params: Its point in the space.
        architecture: The network.
        training: How it was trained.
        parameters: The network's weights.
        multiply_adds: Its multiply-adds a patch.
        seconds: What it took.
        history: A row for every epoch, as in `TrainedNetwork`.
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


@dataclass(frozen=True)
class StudyResult:
    """A finished study.

    Attributes:
        study: Its name in the Optuna storage.
        architecture: The winner's.
        training: The options to train it with: those given, with the winner's learning rate and weight decay.
        best: The winner's number.
        trials: All trials by number.
        note: What the study shows and what it does not, in a sentence.
    """

    study: str
    architecture: Architecture
    training: TrainOptions
    best: int
    trials: list[TrialRecord]
    note: str


def read_trial(trial: Any) -> TrialRecord:
    """Reads a finished optuna.trial.FrozenTrial of a study of ours."""
    notes = trial.user_attrs
    history = notes.get("history", [])
    return TrialRecord(
        number=trial.number,
        state=notes["end"],
        value=trial.value,
        params=dict(trial.params),
        architecture=Architecture.model_validate_json(notes["architecture"]),
        training=TrainOptions.model_validate_json(notes["training"]),
        parameters=notes["parameters"],
        multiply_adds=notes["multiply_adds"],
        seconds=sum(row["seconds"] for row in history),
        history=history,
    )


def note_trial(trial: Any, architecture: Architecture, training: TrainOptions) -> None:
    """Notes what `read_trial` reads back, as far as it is known before the training, on an optuna.Trial."""
    trial.set_user_attr("architecture", architecture.model_dump_json())
    trial.set_user_attr("training", json.dumps(training.model_dump()))


def sum_up(name: str, trials: list[TrialRecord], training: TrainOptions) -> StudyResult:
    """Names the winner: the complete trial of the highest AUROC on val patients, the first of equals."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    best = max(complete, key=lambda trial: (trial.value or 0.0, -trial.number))
    default = next((trial for trial in complete if trial.number == 0), None)
    if best.number == 0:
        note = f"No trial of {len(complete)} that finished beat the default on val patients."
    elif default is None or default.value is None or best.value is None:
        note = f"Trial {best.number} is the best; the default did not finish."
    else:
        note = (
            f"Trial {best.number} beat the default by {best.value - default.value:.3f} AUROC on val patients;"
            " whether that exceeds seed noise was not checked."
        )
    rates = {key: getattr(best.training, key) for key in ("learning_rate", "weight_decay")}
    return StudyResult(name, best.architecture, training.model_copy(update=rates), best.number, trials, note)
