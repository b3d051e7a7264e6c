"""How networks are trained and how several answer together, as options."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from bcd.errors import BcdError
from bcd.options import Epochs, Folds, Options, Patches, Patients, Share, Unit

Turns = Literal[1, 8]
"""How many of the eight exact turns of a patch are looked at."""


class TrainOptions(Options):
    """How a network is trained; the defaults suit `compact` on some thousands of patches.

    Raises:
        BcdError: The fold to leave out is not one of the folds, or val patients are to choose and none is looked at.
    """

    epochs: Epochs = Field(12, ge=1, le=1000, description="Times that every training patch is seen.")
    batch_size: Patches = Field(64, ge=1, le=8192, description="Patches a step.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Peak learning rate, after warm-up; cosine after it.")
    warmup: Share = Field(0.1, ge=0, lt=1, description="Share of all steps in which the learning rate rises.")
    weight_decay: float = Field(1e-3, ge=0, le=1, description="AdamW's decay of weights.")
    clip: float = Field(1.0, gt=0, description="Largest norm of a step's gradient.")
    ema: Annotated[float, Unit("epochs")] = Field(
        0.5, ge=0, le=10, description="Epochs over which weights are averaged; 0: not averaged."
    )
    stain_jitter: float = Field(
        1.0, ge=0, le=5, description="Strength of the jitter of haematoxylin and eosin, in optical density; 0: none."
    )
    light_jitter: float = Field(1.0, ge=0, le=5, description="Strength of the jitter of brightness and contrast.")
    class_weights: bool = Field(
        False, description="Whether the rarer class weighs as much as the commoner; else every patch weighs the same."
    )
    sampling: Literal["natural", "patients"] = Field(
        "natural",
        description="Every patch once an epoch, or every patient equally often, so that none carries the rest.",
    )
    keep: Literal["best", "last"] = Field(
        "best", description="Which epoch's weights are kept: the one of the best patient-wise val score, or the last."
    )
    patience: Epochs = Field(
        0, ge=0, description="Stops after so many epochs in a row without a better patient-wise val score; 0: never."
    )
    precision: Literal["auto", "float32", "mixed"] = Field(
        "auto", description="Mixed precision, float32, or mixed where the device gains from it (auto: a GPU)."
    )
    devices: Annotated[int, Unit("GPUs")] = Field(
        1,
        ge=1,
        le=64,
        description="GPUs of this machine that share every batch; batch_size must be a multiple.",
    )
    folds: Folds = Field(
        0, ge=0, le=20, description="Folds that the train patients are dealt to; 0: none is left out."
    )
    fold: int = Field(0, ge=0, description="The fold whose patients are left out, from 0.")
    seed: int = Field(1, ge=0, le=2**20, description="Seeds initial weights, order of patches and augmentation.")
    min_train_patients: Patients = Field(10, ge=1, description="Training refuses with fewer train patients.")
    min_val_patients: Patients = Field(
        5,
        ge=0,
        description="Training refuses with fewer val patients; 0: none is looked at, which takes `keep` = last.",
    )

    @model_validator(mode="after")
    def _leaves_out_a_fold_that_there_is(self) -> TrainOptions:
        if self.folds == 1 or self.fold >= max(self.folds, 1):
            raise BcdError(
                f"Fold {self.fold} of {self.folds} cannot be left out.",
                "Use at least two folds, and a fold from 0 to their number less one; or folds = 0.",
            )
        return self

    @model_validator(mode="after")
    def _chooses_nothing_without_val_patients(self) -> TrainOptions:
        if self.min_val_patients == 0 and (self.keep == "best" or self.patience):
            chosen = "the best epoch is kept" if self.keep == "best" else f"patience is {self.patience}"
            raise BcdError(
                f"Training looks at no val patients (min_val_patients = 0), and {chosen}: only they could tell.",
                'Use `keep = "last"` and `patience = 0`, or at least one val patient.',
            )
        return self


def _read_number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value  # variables are text


class EnsembleOptions(Options):
    """How many networks are trained, deployed and averaged, and how often each looks at a patch.

    Raises:
        BcdError: A single network is to leave out a fold.
    """

    members: Annotated[int, Unit("networks")] = Field(
        1, ge=1, le=20, description="Networks whose logits are averaged."
    )
    by: Literal["seeds", "folds"] = Field(
        "seeds", description="Members differ in their seed, or each leaves out one fold of the train patients."
    )
    turns: Annotated[Turns, BeforeValidator(_read_number)] = Field(
        1, description="1: a patch as it lies; 8: the mean over its eight exact turns, at eight times the work."
    )

    @model_validator(mode="after")
    def _leaves_out_folds_by_several(self) -> EnsembleOptions:
        if self.by == "folds" and self.members == 1:
            raise BcdError("An ensemble by folds has one member.", "Use at least two members, or members by seeds.")
        return self


SINGLE = EnsembleOptions(members=1, by="seeds", turns=1)
"""One network that looks once: what every bundle was before ensembles."""
