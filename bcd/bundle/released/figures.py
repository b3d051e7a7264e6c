"""What is known of the released model beyond its bundle: its data, its recipe, and how that does out of fold."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bcd.bundle import released
from bcd.errors import DamagedError, NotFoundError
from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.metrics.estimates import Estimate

FILE = "figures.json"


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingSource(_Facts):
    """Data that the model was trained on.

    Attributes:
        name: What the data set is called.
        licence: Under which licence it is given.
        citation: Who made it.
        hospital: What its hospital is called in the record of the training patients.
        patients: Patients used.
        patches: Whole patches used.
        positive: Those of them labelled IDC.
        digests: SHA-256 of each file that it came from, by name.
    """

    name: str
    licence: str
    citation: str
    hospital: str
    patients: int
    patches: int
    positive: int
    digests: dict[str, str]


class Yardstick(_Facts):
    """Patients that the model's copies never saw, and figures on them.

    Attributes:
        title: Whose figures, on whom.
        patients: How many patients.
        patches: How many patches.
        figures: Estimates with intervals by patient, by what they are called.
    """

    title: str
    patients: int
    patches: int
    figures: dict[str, Estimate]


class Shift(_Facts):
    """A change of the pixels, and what it costs.

    Attributes:
        name: What was changed.
        auroc: Patient-macro AUROC under it.
        loss: How much less than without it.
        calibration_error: Under it.
    """

    name: str
    auroc: float
    loss: float
    calibration_error: float


class ContextGain(_Facts):
    """One figure of a slide's patches, scored in three ways.

    Attributes:
        alone: Each patch by itself.
        plain: With the mean of its neighbours, which is not fitted.
        fitted: By the stage of neighbours, fitted on other slides.
    """

    alone: float
    plain: float
    fitted: float


class SlideInContext(_Facts):
    """A complete slide that the stage of neighbours was not fitted on.

    Attributes:
        title: Which slide, or the mean of which.
        patches: How many patches.
        positive: Those of them labelled IDC.
        auroc: Area under the ROC curve.
        best_f1: The highest F1 over all thresholds.
    """

    title: str
    patches: int
    positive: int
    auroc: ContextGain
    best_f1: ContextGain


class Figures(_Facts):
    """What the card of the released model says beyond its bundle's record.

    Attributes:
        data: What it was trained on.
        recipe: How it was trained, in sentences.
        folds: In how many folds the patients were dealt.
        recipes_tried: How many recipes were evaluated on the same folds before this one was chosen.
        natural: Out-of-fold scores of the natural sample, on which calibration and certificates rest.
        everything: Out-of-fold scores of every patch.
        yardsticks: Further figures out of fold.
        robustness: What shifts of the pixels cost.
        context: Complete slides, scored with their neighbours; none where no slide was declared complete.
        limits: What else a reader must know, in sentences.
        device: What it was trained on.
        training_hours: Hours that the released copy took to train.
        pictures: PNG files beside the figures, by name, each with the sentence that says what it shows.
    """

    data: TrainingSource
    recipe: list[str]
    folds: int
    recipes_tried: int
    natural: Evaluation
    everything: Evaluation
    yardsticks: list[Yardstick] = []
    robustness: list[Shift] = []
    context: list[SlideInContext] = []
    limits: list[str] = []
    device: str
    training_hours: float
    pictures: dict[str, str] = {}


def read_released_figures(folder: Path | None = None) -> Figures:
    """Reads the figures of the released model.

    Args:
        folder: Where they lie; None: in this package.

    Raises:
        BcdError: They are not there, or are of another version of bcd.
    """
    path = (folder or released.released_folder()) / FILE
    try:
        return Figures.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            f"This copy of bcd holds no figures of its released model: {path} is not there.",
            "Install bcd from its wheel.",
        ) from None
    except ValidationError as error:
        raise DamagedError(f"{path} cannot be read: {error.errors()[0]['msg']}.", "Install bcd anew.") from error
