"""Scoring: a patient's patches -> stored scores -> slide, heatmap, report, ledger entry.

A scored patient is a folder of BCD_HOME, whole or absent, named by bundle and content:

    scores/HOSPITAL/PATIENT/BUNDLE-CONTENT/scores.parquet  slide-5.png  heatmap-5.png  patches-5.geojson  report.html

The content hash covers the patient's patches with their labels, and the options: new patches or a corrected
label are scored anew, and the same again is found done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcd.errors import BcdError
from bcd.files import whole_folder
from bcd.patches import Hospital, PatientId
from bcd.progress import say, track
from bcd.scoring.exposure import find_exposure
from bcd.scoring.geojson import write_geojson
from bcd.scoring.heatmap import draw_heatmap, draw_slide
from bcd.scoring.job import Job, is_recorded, open_job, record_job
from bcd.scoring.mosaic import stitch
from bcd.scoring.options import ScoreOptions
from bcd.scoring.report import pick_examples, picture_budget, show_examples, write_report
from bcd.scoring.shown import show_slide
from bcd.scoring.summary import Summary, summarise

if TYPE_CHECKING:
    import pandas as pd

    from bcd.store.store import Store

_SCORES = "scores.parquet"
_REPORT = "report.html"


@dataclass(frozen=True)
class SlidePictures:
    """The two pictures of one slide, on the same canvas and scale."""

    slide: str
    picture: Path
    heatmap: Path


@dataclass(frozen=True)
class PatientScore:
    """A scored patient.

    Attributes:
        hospital: The patient's hospital.
        patient: The patient.
        bundle: Name of the bundle that scored, such as `bcd-idc/3`.
        folder: Where everything lies.
        pictures: Slide and heatmap of each slide, the one with most patches first.
        summary: What the scores add up to.
        skipped: Whether it had been scored before.
    """

    hospital: Hospital
    patient: PatientId
    bundle: str
    folder: Path
    pictures: tuple[SlidePictures, ...]
    summary: Summary
    skipped: bool

    @property
    def scores(self) -> Path:
        """The stored scores, a row a patch."""
        return self.folder / _SCORES

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / _REPORT

    @property
    def slide(self) -> Path:
        """Picture of the slide with most patches."""
        return self.pictures[0].picture

    @property
    def heatmap(self) -> Path:
        """Heatmap of the slide with most patches."""
        return self.pictures[0].heatmap

    @property
    def n(self) -> int:
        """Patches scored."""
        return self.summary.n

    @property
    def coverage(self) -> float:
        """Share of patches that is confident at the level of the options."""
        return self.summary.coverage

    @property
    def tumour_fraction(self) -> float:
        """Mean calibrated probability of IDC."""
        return self.summary.tumour_fraction


def score_patient(
    store: Store,
    bundle: Any,
    hospital: Hospital,
    patient: PatientId,
    options: ScoreOptions,
    *,
    protocol: str | None = None,
) -> PatientScore:
    """Scores one patient with a bundle, once: the same patches, options and bundle again are found done.

    Args:
        store: Knows the patient and keeps the ledger.
        bundle: What scores: `name`, `record`, `score(pixels)` -> a frame of logit, probability, confident_*.
        hospital: The patient's hospital.
        patient: The patient.
        options: Level, outcome and drawing.
        protocol: The protocol under which the report names the patient's split; by default the bundle's own.

    Raises:
        BcdError: The patient is unknown, or could not be scored; the latter is in the ledger.
    """
    job = open_job(store, bundle, hospital, patient, options, protocol)
    found = job.folder.exists()
    if not found:
        try:
            with whole_folder(job.folder) as partial:
                _store_scores(job, partial)
                _draw(job, partial)
        except Exception as error:
            record_job(job, error)
            raise _named(error, job) from error
    recorded = is_recorded(job)
    if not recorded:
        record_job(job)
    if found:
        say(f"Patient {job.key} was already scored with {bundle.name}.")
    return _read_back(job, skipped=found and recorded)


def patients_to_score(store: Store, bundle: Any, options: ScoreOptions) -> list[tuple[Hospital, PatientId]]:
    """Lists the patients who, as they are now, were not yet scored with this bundle and these options."""
    from bcd.store.patients import list_patients

    waiting: list[tuple[Hospital, PatientId]] = []
    patients = list_patients(store)
    present = patients.loc[~patients["withdrawn"], ["hospital", "patient"]]
    for hospital, patient in present.itertuples(index=False):
        job = open_job(store, bundle, hospital, patient, options)
        if not (job.folder.exists() and is_recorded(job)):
            waiting.append((job.hospital, job.patient))
    return sorted(waiting)


def _store_scores(job: Job, folder: Path) -> None:
    import pandas as pd

    from bcd.store.batches import read_pixels

    given = job.bundle.score(read_pixels(job.store.settings, job.patches)).reset_index(drop=True)
    if not np.isfinite(given[["logit", "probability"]].to_numpy(np.float64)).all():
        raise BcdError(f"{job.bundle.name} gave scores that are no numbers.", "Go back to the previous champion.")
    # The label kept is the pathologist's; what the bundle calls a patch follows from its probability.
    # Batch and row say where the pixels are, so that the pictures can be drawn again.
    kept = ["hospital", "patient", "slide", "x", "y", "label", "batch", "row"]
    added = ["logit", "probability", *(name for name in given if str(name).startswith("confident"))]
    pd.concat([job.patches[kept], given[added]], axis=1).to_parquet(folder / _SCORES, index=False)


def _draw(job: Job, folder: Path) -> None:
    """Draws and reports what the stored scores of the folder hold."""
    import pandas as pd

    from bcd.store.batches import read_pixels

    scores = pd.read_parquet(folder / _SCORES)
    pictures = _pictures(folder, scores)
    slides = []
    with track(f"Drawing patient {job.key}", total=len(pictures) + 1) as advance:
        for one in pictures:
            of_slide = scores[scores["slide"] == one.slide]
            mosaic = stitch(of_slide, read_pixels(job.store.settings, of_slide))
            title = f"Patient {job.key}, slide {one.slide}"
            draw_slide(mosaic, job.options, title=title, path=one.picture)
            title = f"{title}, scored by {job.bundle.name}"
            draw_heatmap(mosaic, of_slide, job.options, title=title, path=one.heatmap)
            budget = picture_budget(len(of_slide), len(scores))
            slides.append(show_slide(mosaic, of_slide, job.options, budget=budget))
            _write_geojson(job, of_slide, folder / f"patches-{one.slide}.geojson")
            advance(1)
        suspicious, uncertain = (
            show_examples(picked, read_pixels(job.store.settings, picked)) for picked in pick_examples(scores)
        )
        facts = _facts(job, scores)
        write_report(folder / _REPORT, slides=slides, suspicious=suspicious, uncertain=uncertain, facts=facts)
        advance(1)


def _write_geojson(job: Job, of_slide: pd.DataFrame, path: Path) -> None:
    from bcd.store.frames import find_frame

    write_geojson(
        path,
        of_slide,
        frame=find_frame(job.store, job.hospital, job.patient, str(of_slide["slide"].iloc[0])),
        bundle=job.bundle.name,
        level=job.options.outcome.level,
        policy=job.bundle.record.policy,
    )


def _facts(job: Job, scores: pd.DataFrame) -> dict[str, Any]:
    record = job.bundle.record
    return {
        "hospital": job.hospital,
        "patient": job.patient,
        "bundle": job.bundle.name,
        "record": record,
        "exposure": find_exposure(
            job.store, record, hospital=job.hospital, patient=job.patient, protocol=job.protocol
        ),
        "protocol": job.protocol,
        "summary": summarise(scores, job.options, record.policy.levels),
        "options": job.options,
        "content": job.content,
        "scored_at": datetime.now(UTC),
    }


def _pictures(folder: Path, scores: pd.DataFrame) -> tuple[SlidePictures, ...]:
    counts = scores["slide"].value_counts()
    slides = sorted((str(slide) for slide in counts.index), key=lambda slide: (-int(counts[slide]), slide))
    return tuple(
        SlidePictures(slide, folder / f"slide-{slide}.png", folder / f"heatmap-{slide}.png") for slide in slides
    )


def _read_back(job: Job, *, skipped: bool) -> PatientScore:
    import pandas as pd

    scores = pd.read_parquet(job.folder / _SCORES)
    return PatientScore(
        hospital=job.hospital,
        patient=job.patient,
        bundle=job.bundle.name,
        folder=job.folder,
        pictures=_pictures(job.folder, scores),
        summary=summarise(scores, job.options, job.bundle.record.policy.levels),
        skipped=skipped,
    )


def _named(error: Exception, job: Job) -> BcdError:
    if isinstance(error, BcdError):
        return BcdError(f"Patient {job.key} could not be scored: {error.what}", error.fix)
    return BcdError(
        f"Patient {job.key} could not be scored: {type(error).__name__}: {error}.",
        "The ledger keeps this failure; the next run tries the patient again.",
    )
