"""What scoring keeps of a patient's drift, beside the scores: `drift.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.drift.profiles import Profile, profile_pictures, profile_scores
from bcd.drift.state import Drift, Known, assess_slide, join_drifts
from bcd.patches import Hospital
from bcd.store.objects import read_stored

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.settings import Settings

FILE = "drift.json"


class PatientDrift(BaseModel):
    """How a patient compares with those whom the bundle knows.

    Attributes:
        state: The worst of the slides and of the delivery.
        slides: Each slide by itself.
        delivery: The delivery that the patient came with; None where there is none, or nothing to compare it with.
        scores: Profile of the patient's scores; None where the bundle was trained on the patient.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Drift
    slides: dict[str, Drift]
    delivery: Drift | None
    scores: Profile | None


def assess_patient(
    known: Known | None,
    hospital: Hospital,
    scores: pd.DataFrame,
    pixels: Mapping[str, NDArray[np.uint8]],
    *,
    trained_on: bool,
    delivery: Drift | None,
) -> PatientDrift:
    """Says how a patient compares with those whom a bundle knows.

    Args:
        known: The bundle's patients; None where its record holds none.
        hospital: The patient's hospital.
        scores: Columns slide, logit, probability; all patches of the patient.
        pixels: Some raw patches of each slide, by slide.
        trained_on: Whether the bundle was trained on the patient, so that scores cannot be compared.
        delivery: The state of the delivery that the patient came with.
    """
    slides = {}
    for slide, of_slide in scores.groupby("slide", sort=False):
        told = None if trained_on else profile_scores(of_slide["logit"], of_slide["probability"])
        slides[str(slide)] = assess_slide(known, hospital, str(slide), profile_pictures(pixels[str(slide)]), told)
    return PatientDrift(
        state=join_drifts([*slides.values(), *([] if delivery is None else [delivery])]),
        slides=slides,
        delivery=delivery,
        scores=None if trained_on else profile_scores(scores["logit"], scores["probability"]),
    )


def read_patient_drift(folder: Path) -> PatientDrift:
    """Reads what scoring left in a folder."""
    return PatientDrift.model_validate_json((folder / FILE).read_bytes())


def find_stored_drift(settings: Settings, folder: Path) -> PatientDrift | None:
    """Reads what scoring left in a folder of the store; None where the folder was removed."""
    try:
        return PatientDrift.model_validate_json(read_stored(settings, folder, FILE))
    except FileNotFoundError:
        return None
