"""What of a patient is exported: the stored scores of the last scoring, and the pixels that they are of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.drift.patient import read_patient_drift
from bcd.drift.state import UNTRUSTED, Drift
from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital, PatientId, SlideId
from bcd.scoring.bundle import ScoringBundle
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import SCORES, Subject

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.store.frames import Frame
    from bcd.store.store import Store


@dataclass(frozen=True)
class ScoredPatient:
    """A scored patient, ready to be exported.

    Attributes:
        hospital: The patient's hospital.
        patient: The patient.
        bundle: What scored, such as `bcd-idc/3`.
        content: Hash of the patches, their labels and the options.
        at: When, in UTC.
        scores: The stored scores of all patches, as in `scores.parquet`.
        slides: The slides that are exported.
        read: Reads the pixels of rows of `scores`, (n, 50, 50, 3) uint8.
        frames: Of the slides that bcd cut itself.
        options: Level, outcome and colours.
        drift: How the patient compares with whom the bundle knows.
    """

    hospital: Hospital
    patient: PatientId
    bundle: str
    content: str
    at: datetime
    scores: pd.DataFrame
    slides: tuple[SlideId, ...]
    read: Callable[[pd.DataFrame], NDArray[np.uint8]]
    frames: Mapping[SlideId, Frame]
    options: ScoreOptions
    drift: Drift

    @classmethod
    def of(cls, folder: Path, subject: Subject, bundle: ScoringBundle, options: ScoreOptions) -> ScoredPatient:
        """Returns a patient whom `write_result` just scored into a folder."""
        import pandas as pd

        scores, drift = pd.read_parquet(folder / SCORES), read_patient_drift(folder)
        return cls(
            hospital=subject.hospital,
            patient=subject.patient,
            bundle=bundle.name,
            content=subject.content,
            at=datetime.now(UTC),
            scores=scores,
            slides=tuple(scores["slide"].unique().tolist()),
            read=subject.read,
            frames=subject.frames,
            options=options,
            drift=drift.state,
        )

    @property
    def caution(self) -> str:
        """What stands before everything else that is said of the scores; empty where nothing does."""
        return "Not to be relied on. " if self.drift.level == UNTRUSTED else ""

    @property
    def key(self) -> str:
        """The patient in one word."""
        return f"{self.hospital}/{self.patient}"

    def of_slide(self, slide: SlideId) -> pd.DataFrame:
        """Returns the scores of the patches of a slide."""
        return self.scores[self.scores["slide"] == slide].reset_index(drop=True)

    def choose(self, slides: Sequence[SlideId]) -> ScoredPatient:
        """Returns the patient with these slides only; none named: with all.

        Raises:
            NotFoundError: The patient has no such slide.
        """
        if unknown := [slide for slide in slides if slide not in self.slides]:
            raise NotFoundError(
                f"Patient {self.key} has no slide {unknown[0]}.", f"Name one of: {', '.join(self.slides)}."
            )
        return replace(self, slides=tuple(dict.fromkeys(slides))) if slides else self


def find_scored_patient(store: Store, hospital: Hospital, patient: PatientId, options: ScoreOptions) -> ScoredPatient:
    """Finds what the last scoring of a patient left.

    Raises:
        BcdError: The patient is withdrawn, was not scored, or patches, labels or options changed since.
    """
    import pandas as pd

    from bcd.scoring.job import hash_scoring_content
    from bcd.store.batches import read_batch_pixels
    from bcd.store.complete import find_complete
    from bcd.store.frames import find_stored_frame
    from bcd.store.ledger import find_last_scoring
    from bcd.store.objects import in_use, require
    from bcd.store.patients import list_stored_patches

    patches = list_stored_patches(store, hospital, patient)
    entry = find_last_scoring(store, hospital, patient)
    again = f"Run `bcd score {patient} --hospital {hospital}` first."
    if entry is None or not (require(store.settings, store.settings.home / entry.folder) / SCORES).is_file():
        raise BcdError(f"Patient {hospital}/{patient} is not scored.", again)
    if entry.content != hash_scoring_content(options, patches, find_complete(store, hospital, patient)):
        raise BcdError(
            f"Patches, labels or options of patient {hospital}/{patient} changed since the scoring of"
            f" {entry.at:%Y-%m-%d %H:%M} UTC by {entry.bundle}.",
            again,
        )
    with in_use(store.settings, store.settings.home / entry.folder) as folder:
        drift, scores = read_patient_drift(folder), pd.read_parquet(folder / SCORES)
    slides = [SlideId(str(slide)) for slide in patches["slide"].unique()]
    found = {slide: find_stored_frame(store, hospital, patient, slide) for slide in slides}
    return ScoredPatient(
        hospital=hospital,
        patient=patient,
        bundle=entry.bundle,
        content=entry.content,
        at=entry.at,
        scores=scores,
        slides=tuple(slides),
        read=lambda rows: read_batch_pixels(store.settings, rows),
        frames={slide: frame for slide, frame in found.items() if frame is not None},
        options=options,
        drift=drift.state,
    )


def require_export_packages(name: str, packages: Collection[str], extra: str) -> None:
    """Makes sure that what writes a format is installed.

    Raises:
        BcdError: It is not; the message names the extra.
    """
    if missing := [package for package in packages if find_spec(package) is None]:
        raise BcdError(
            f"The format {name} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not"
            " installed.",
            f"Run `pip install 'bcd[{extra}]'`.",
        )
