"""Shadow: the challenger scores whom the champion has scored, and nobody who reads reports sees it.

Its scores and how they agree with the champion's lie apart from the reports, a folder a patient, whole or absent:

    shadow/HOSPITAL/PATIENT/CHALLENGER-beside-CHAMPION-CONTENT/scores.parquet  agreement.json

Content is that of the champion's scores: new patches or a corrected label are compared anew.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from bcd.evaluation.calls import is_confident, is_idc
from bcd.evaluation.outcome import Outcome
from bcd.files import whole_folder
from bcd.patches import CELL, Hospital, PatientId
from bcd.scoring.bundle import ScoringBundle
from bcd.scoring.job import ScoringJob, is_scoring_recorded, open_scoring_job, open_scoring_jobs
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import SCORES, score_patches
from bcd.scoring.summary import summarise_patient_scores
from bcd.store.batches import read_batch_pixels
from bcd.store.objects import in_use, list_stored, put, read_stored, remove, require
from bcd.store.withdrawals import list_withdrawals

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from bcd.settings import Settings
    from bcd.store.store import Store

_AGREEMENT = "agreement.json"


class Agreement(BaseModel):
    """How a challenger and the champion agree on one patient.

    Attributes:
        hospital: The patient's hospital.
        patient: The patient.
        champion: Name of the one whose report there is, such as `bcd-idc/3`.
        challenger: Name of the other.
        content: Hash of the patches, their labels and the options of the champion's scores.
        patches: Patches that both have scored.
        same_side: By confidence level, the share of patches of which both say the same: IDC, none, or not confident.
            At 0.5 every patch is confident.
        difference: Mean absolute difference of the calibrated probability.
        champion_outcome: The outcome by the champion's scores.
        challenger_outcome: The outcome by the challenger's.
        at: When they were compared, in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hospital: Hospital
    patient: PatientId
    champion: str
    challenger: str
    content: str
    patches: int
    same_side: dict[str, float]
    difference: float
    champion_outcome: Outcome
    challenger_outcome: Outcome
    at: datetime

    @property
    def same_outcome(self) -> bool:
        """Whether both come to the same outcome."""
        return self.champion_outcome == self.challenger_outcome


def score_in_shadow(  # noqa: PLR0917 the order of these is the same everywhere
    store: Store,
    champion: ScoringBundle,
    challenger: ScoringBundle,
    hospital: Hospital,
    patient: PatientId,
    options: ScoreOptions,
) -> Agreement:
    """Scores a patient with the challenger and compares with the champion's stored scores, once.

    Raises:
        BcdError: The patient is unknown or withdrawn, or the challenger gives no finite score.
        OSError: The champion has not scored the patient as they are now.
    """
    import pandas as pd

    job = open_scoring_job(store, champion, hospital, patient, options)
    folder = require(store.settings, _shadow_folder(job, challenger.name))
    if not folder.exists():
        with in_use(store.settings, job.folder):
            known = pd.read_parquet(job.folder / SCORES)
        pixels = read_batch_pixels(store.settings, job.patches)
        scores = score_patches(job.patches, pixels, challenger, job.complete)
        found = compare_in_shadow(job, known, scores, challenger.name)
        with whole_folder(folder) as partial:
            scores.to_parquet(partial / SCORES, index=False)
            (partial / _AGREEMENT).write_text(found.model_dump_json(indent=1), "utf-8")
    put(store.settings, folder)
    return _read_agreement(store.settings, folder)


def compare_in_shadow(job: ScoringJob, champion: pd.DataFrame, challenger: pd.DataFrame, name: str) -> Agreement:
    """Compares two frames of scores of the same patches.

    Args:
        job: What the champion has scored.
        champion: Its stored scores.
        challenger: The other's.
        name: What the other is called.
    """
    both = champion.merge(challenger, on=CELL, suffixes=("", "_shadow"), validate="one_to_one")
    first, second = both["probability"], both["probability_shadow"]
    levels = sorted({0.5, *job.bundle.record.policy.levels, job.options.outcome.level})
    outcomes = [summarise_patient_scores(scores, job.options).outcome for scores in (champion, challenger)]
    return Agreement(
        hospital=job.hospital,
        patient=job.patient,
        champion=job.bundle.name,
        challenger=name,
        content=job.content,
        patches=len(both),
        same_side={f"{level:g}": float((_side(first, level) == _side(second, level)).mean()) for level in levels},
        difference=float(np.abs(first.to_numpy(np.float64) - second.to_numpy(np.float64)).mean()),
        champion_outcome=outcomes[0],
        challenger_outcome=outcomes[1],
        at=datetime.now(UTC),
    )


def list_unshadowed(
    store: Store, champion: ScoringBundle, challenger: str, options: ScoreOptions
) -> list[tuple[Hospital, PatientId]]:
    """Lists the patients whom the champion has scored as they are now, and the challenger has not."""
    done = {*list_stored(store.settings, store.settings.scores, "*/*/*")}
    done |= {*list_stored(store.settings, store.settings.shadow, "*/*/*")}
    return sorted(
        (job.hospital, job.patient)
        for job in open_scoring_jobs(store, champion, options)
        if job.folder in done and is_scoring_recorded(job) and _shadow_folder(job, challenger) not in done
    )


def list_agreements(store: Store, challenger: str) -> list[Agreement]:
    """Returns the newest agreement of each patient with a challenger, those who agree least first.

    Withdrawn patients are left out. Where the champion changed meanwhile, those with the newest one count.

    Args:
        store: The open store.
        challenger: Its name, such as `bcd-idc/3`; empty: of none.
    """
    gone = {one.person for one in list_withdrawals(store)}
    folders = _list_shadow_folders(store.settings, challenger)
    found = sorted((_read_agreement(store.settings, folder) for folder in folders), key=lambda one: one.at)
    newest = {(one.hospital, one.patient): one for one in found if one.champion == found[-1].champion}
    left = [one for person, one in newest.items() if person not in gone]
    return sorted(left, key=lambda one: (one.same_outcome, -one.difference, one.hospital, one.patient))


def remove_shadow(settings: Settings, challenger: str) -> None:
    """Removes what a version scored in shadow, by its name, such as `bcd-idc/3`."""
    for folder in _list_shadow_folders(settings, challenger):
        remove(settings, folder)


def _list_shadow_folders(settings: Settings, challenger: str) -> list[Path]:
    return list_stored(settings, settings.shadow, f"*/*/{_folder_name(challenger)}-beside-*")


def _side(probability: ArrayLike, level: float) -> NDArray[np.int8]:
    """Returns 1 where a patch is confidently IDC, -1 where confidently none, 0 where neither."""
    side = np.where(is_idc(probability), 1, -1)
    return np.where(is_confident(probability, level), side, 0).astype(np.int8)


def _shadow_folder(job: ScoringJob, challenger: str) -> Path:
    name = f"{_folder_name(challenger)}-beside-{job.folder.name}"
    return job.store.settings.shadow / job.hospital / job.patient / name


def _folder_name(bundle: str) -> str:
    return bundle.replace("/", "-")


def _read_agreement(settings: Settings, folder: Path) -> Agreement:
    return Agreement.model_validate_json(read_stored(settings, folder, _AGREEMENT))
