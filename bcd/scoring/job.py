"""One patient as they are now, to be scored by one bundle, and what the ledger says of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bcd.errors import NotFoundError, WithdrawnError
from bcd.patches import PERSON, Hospital, PatientId, Slide
from bcd.scoring.bundle import ScoringBundle
from bcd.scoring.exposure import Exposure, find_scored_exposure, list_doubts, tell_exposure_of_scored
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.store.store import Store


@dataclass(frozen=True)
class ScoringJob:
    """What is to be scored, with what.

    Attributes:
        store: Knows the patient and keeps the ledger.
        bundle: What scores.
        options: Level, outcome and drawing.
        protocol: The protocol under which the report names the patient's split.
        patches: The patient's patches, with batch and row.
        complete: The complete slides among theirs.
        content: Hash of the patches, their labels, the complete slides and the options.
    """

    store: Store
    bundle: ScoringBundle
    options: ScoreOptions
    protocol: str
    patches: pd.DataFrame
    complete: frozenset[Slide]
    content: str

    @property
    def hospital(self) -> Hospital:
        """The patient's hospital."""
        return Hospital(self.patches["hospital"].iloc[0])

    @property
    def patient(self) -> PatientId:
        """The patient."""
        return PatientId(self.patches["patient"].iloc[0])

    @property
    def key(self) -> str:
        """The patient in one word."""
        return f"{self.hospital}/{self.patient}"

    @property
    def folder(self) -> Path:
        """Where the result belongs; a registry that was begun anew has another bundle of the same name."""
        made = f"{self.content}\n{self.bundle.record.created_at.isoformat()}"
        name = f"{self.bundle.name.replace('/', '-')}-{hashlib.sha256(made.encode()).hexdigest()[:12]}"
        return self.store.settings.scores / self.hospital / self.patient / name


def open_scoring_job(  # noqa: PLR0917 the order of these is the same everywhere
    store: Store,
    bundle: ScoringBundle,
    hospital: Hospital,
    patient: PatientId,
    options: ScoreOptions,
    protocol: str | None = None,
) -> ScoringJob:
    """Looks up what there is to score.

    Raises:
        BcdError: The patient is unknown.
    """
    from bcd.store.complete import find_complete
    from bcd.store.patients import list_stored_patches

    patches = list_stored_patches(store, hospital, patient)
    complete = find_complete(store, hospital, patient)
    return ScoringJob(
        store=store,
        bundle=bundle,
        options=options,
        protocol=protocol or bundle.record.protocol,
        patches=patches,
        complete=complete,
        content=hash_scoring_content(options, patches, complete),
    )


def open_scoring_jobs(store: Store, bundle: ScoringBundle, options: ScoreOptions) -> Iterator[ScoringJob]:
    """Opens the job of each patient who has not withdrawn, by patient."""
    from bcd.store.patients import list_patients

    patients = list_patients(store)
    for hospital, patient in patients.loc[~patients["withdrawn"], PERSON].itertuples(index=False):
        try:
            job = open_scoring_job(store, bundle, hospital, patient, options)
        except (NotFoundError, WithdrawnError):  # erased, or withdrawn, since the list was read
            continue
        yield job


def hash_scoring_content(options: ScoreOptions, patches: pd.DataFrame, complete: Collection[Slide]) -> str:
    """Returns the hash of all that the scores of a patient and what is drawn of them depend on, but the bundle."""
    rows = patches[["slide", "x", "y", "label", "batch", "row"]].to_csv(index=False, na_rep="?")
    told = "".join(f"\ncomplete {slide}" for *_, slide in sorted(complete))
    return hashlib.sha256(f"{options.fingerprint()}\n{rows}{told}".encode()).hexdigest()


def make_scoring_subject(job: ScoringJob) -> Subject:
    """Returns the patient of a job with all that scoring and report need of the store."""
    from bcd.drift.delivery import find_state
    from bcd.store.batches import read_batch_pixels
    from bcd.store.frames import find_stored_frame

    slides = job.patches["slide"].unique().tolist()
    found = {slide: find_stored_frame(job.store, job.hospital, job.patient, slide) for slide in slides}

    def read(patches: pd.DataFrame) -> NDArray[np.uint8]:
        return read_batch_pixels(job.store.settings, patches)

    return Subject(
        hospital=job.hospital,
        patient=job.patient,
        patches=job.patches,
        read=read,
        frames={slide: frame for slide, frame in found.items() if frame is not None},
        complete=job.complete,
        exposure=_find_exposure(job, read),
        protocol=job.protocol,
        content=job.content,
        delivery=find_state(job.store, job.bundle.name, job.bundle.known, job.patches["batch"]),
        warnings=tuple(list_doubts(job.store, job.bundle, job.hospital)),
    )


def _find_exposure(job: ScoringJob, read: Callable[[pd.DataFrame], NDArray[np.uint8]]) -> Exposure:
    if job.bundle.seen is not None:
        return tell_exposure_of_scored(job.bundle.seen, job.patches, read(job.patches))
    return find_scored_exposure(
        job.store, job.bundle.record, hospital=job.hospital, patient=job.patient, protocol=job.protocol
    )


def is_scoring_recorded(job: ScoringJob) -> bool:
    """Whether the ledger says that this was done."""
    from bcd.store.ledger import find_in_ledger

    found = find_in_ledger(job.store, job.hospital, job.patient, job.bundle.name, job.content)
    return found is not None and found.folder == _folder_in_home(job)


def record_scoring_job(
    job: ScoringJob, status: Literal["started", "scored", "failed"], error: BaseException | None = None
) -> None:
    """Tells the ledger that this begins, was done, or why it failed."""
    from bcd.store.ledger import LedgerEntry, record_in_ledger

    entry = LedgerEntry(
        hospital=job.hospital,
        patient=job.patient,
        bundle=job.bundle.name,
        content=job.content,
        status=status,
        at=datetime.now(UTC),
        folder=_folder_in_home(job),
        error=None if error is None else f"{type(error).__name__}: {error}",
    )
    record_in_ledger(job.store, entry)


def _folder_in_home(job: ScoringJob) -> str:
    return job.folder.relative_to(job.store.settings.home).as_posix()
