"""What scoring leaves of a patient: scores, slide, heatmap, GeoJSON and report, wherever the patches came from.

    scores.parquet  drift.json  slide-5.webp  heatmap-5.webp  patches-5.geojson  report.html

Everything that is drawn and reported is computed from the stored scores. Slide and heatmap are there as files where
the options ask for full pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bcd.drift.patient import FILE as DRIFT
from bcd.drift.patient import PatientDrift, assess_patient, read_patient_drift
from bcd.drift.profiles import MOST_PATCHES, choose_evenly
from bcd.errors import BcdError
from bcd.evaluation.policy.context import CONTEXT
from bcd.patches import CELL, Hospital, PatientId, Slide, SlideId, lie_on
from bcd.progress import track_progress
from bcd.scoring.bundle import ScoringBundle
from bcd.scoring.examples import show_examples
from bcd.scoring.geojson import write_geojson
from bcd.scoring.heatmap import draw_heatmap, draw_slide
from bcd.scoring.mosaic import stitch
from bcd.scoring.options import ScoreOptions
from bcd.scoring.report import slide_picture_budget, write_patient_report
from bcd.scoring.shown import show_slide
from bcd.scoring.summary import Summary, summarise_patient_scores

if TYPE_CHECKING:
    import pandas as pd

    from bcd.drift.state import Drift
    from bcd.scoring.exposure import Exposure
    from bcd.store.frames import Frame

SCORES, REPORT = "scores.parquet", "report.html"

SPREAD = "spread"
"""The column of scores that says how far networks and turns disagree: the standard deviation of the probability."""

_MEASURED = 512  # patches whose detail is measured


@dataclass(frozen=True)
class Subject:
    """A patient to be scored, wherever the patches lie.

    Attributes:
        hospital: The patient's hospital.
        patient: The patient.
        patches: hospital, patient, slide, x, y, label (NA = unlabelled), batch and row (where the pixels are).
        read: Reads the pixels of rows of `patches`, (n, 50, 50, 3) uint8.
        frames: Of the slides that bcd cut itself.
        complete: Slides (hospital, patient, slide) of which every patch with tissue is here.
        exposure: What the bundle knew of the patient.
        protocol: The protocol under which the patient's split is named.
        content: Hash of the patches, their labels and the options.
        delivery: State of the delivery that the patient came with; None where there is nothing to compare it with.
        warnings: What a reader must know before the scores.
    """

    hospital: Hospital
    patient: PatientId
    patches: pd.DataFrame
    read: Callable[[pd.DataFrame], NDArray[np.uint8]]
    frames: Mapping[SlideId, Frame]
    complete: Collection[Slide]
    exposure: Exposure
    protocol: str
    content: str
    delivery: Drift | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def key(self) -> str:
        """The patient in one word."""
        return f"{self.hospital}/{self.patient}"


@dataclass(frozen=True)
class SlidePictures:
    """The two pictures of one slide, on the same canvas and scale."""

    slide: SlideId
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
        pictures: Slide and heatmap of each slide, the one with most patches first; none unless they are full.
        summary: What the scores add up to.
        drift: How slides and delivery compare with whom the bundle knows.
        skipped: Whether it had been scored before.
    """

    hospital: Hospital
    patient: PatientId
    bundle: str
    folder: Path
    pictures: tuple[SlidePictures, ...]
    summary: Summary
    drift: PatientDrift
    skipped: bool

    @property
    def scores(self) -> Path:
        """The stored scores, a row a patch."""
        return self.folder / SCORES

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / REPORT

    def batches(self) -> list[str]:
        """Returns the batches that the patient's patches came with."""
        import pandas as pd

        return [str(batch) for batch in pd.read_parquet(self.scores, columns=["batch"])["batch"].unique()]

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


def write_result(folder: Path, subject: Subject, bundle: ScoringBundle, options: ScoreOptions) -> None:
    """Scores a patient and writes all that scoring leaves into a folder that is there.

    Raises:
        BcdError: The bundle gives no finite score, or a slide cannot be drawn.
    """
    _store_scores(folder, subject, bundle)
    _store_drift(folder, subject, bundle)
    _draw_patient_report(folder, subject, bundle, options)


def read_result(
    folder: Path,
    hospital: Hospital,
    patient: PatientId,
    bundle: ScoringBundle,
    options: ScoreOptions,
    *,
    skipped: bool = False,
) -> PatientScore:
    """Reads back what `write_result` left in a folder."""
    import pandas as pd

    scores = pd.read_parquet(folder / SCORES)
    return PatientScore(
        hospital=hospital,
        patient=patient,
        bundle=bundle.name,
        folder=folder,
        pictures=_list_pictures(folder, scores) if options.pictures == "full" else (),
        summary=summarise_patient_scores(scores, options, bundle.record.policy.levels),
        drift=read_patient_drift(folder),
        skipped=skipped,
    )


def _list_pictures(folder: Path, scores: pd.DataFrame) -> tuple[SlidePictures, ...]:
    counts = scores["slide"].value_counts()
    slides = sorted((SlideId(str(slide)) for slide in counts.index), key=lambda slide: (-int(counts[slide]), slide))
    return tuple(
        SlidePictures(slide, folder / f"slide-{slide}.webp", folder / f"heatmap-{slide}.webp") for slide in slides
    )


def _store_scores(folder: Path, subject: Subject, bundle: ScoringBundle) -> None:
    scores = score_patches(subject.patches, subject.read(subject.patches), bundle, subject.complete)
    scores.to_parquet(folder / SCORES, index=False)


def score_patches(
    patches: pd.DataFrame, pixels: NDArray[np.uint8], bundle: ScoringBundle, complete: Collection[Slide]
) -> pd.DataFrame:
    """Scores a patient's patches.

    Args:
        patches: As in a subject.
        pixels: Theirs, (n, 50, 50, 3).
        bundle: What scores them.
        complete: Slides on which neighbours count.

    Returns:
        Place, label, batch and row of each patch, logit, probability, context_probability, spread, and confident_*
        by level.

    Raises:
        BcdError: The bundle gives no finite score.
    """
    import pandas as pd

    given = bundle.score(pixels, spread=True).reset_index(drop=True)
    if not np.isfinite(given[["logit", "probability"]].to_numpy(np.float64)).all():
        raise BcdError(f"{bundle.name} gave scores that are no numbers.", "Go back to the previous champion.")
    # The label kept is the pathologist's; what the bundle calls a patch follows from its probability.
    # Batch and row say where the pixels are, so that the pictures can be drawn again.
    kept = [*CELL, "label", "batch", "row"]
    scores = pd.concat([patches[kept], given[["logit", "probability"]]], axis=1)
    placed = scores.assign(complete=lie_on(scores, complete))
    scores[CONTEXT] = bundle.record.policy.score_context(placed)
    scores[SPREAD] = given[SPREAD]
    confident = given[[name for name in given if str(name).startswith("confident")]]
    return pd.concat([scores, confident], axis=1)


def _store_drift(folder: Path, subject: Subject, bundle: ScoringBundle) -> None:
    """Compares the stored scores, and the pictures that they are of, with whom the bundle knows."""
    import pandas as pd

    scores = pd.read_parquet(folder / SCORES)
    some = {
        str(slide): of_slide.iloc[choose_evenly(len(of_slide), MOST_PATCHES)]
        for slide, of_slide in scores.groupby("slide", sort=False)
    }
    found = assess_patient(
        bundle.known,
        subject.hospital,
        scores,
        {slide: subject.read(patches) for slide, patches in some.items()},
        trained_on=subject.exposure.split == "train",
        delivery=subject.delivery,
    )
    (folder / DRIFT).write_text(found.model_dump_json(indent=1), "utf-8")


def _draw_patient_report(folder: Path, subject: Subject, bundle: ScoringBundle, options: ScoreOptions) -> None:
    """Draws and reports what the stored scores of the folder hold."""
    import pandas as pd

    scores = pd.read_parquet(folder / SCORES)
    pictures = _list_pictures(folder, scores)
    slides = []
    with track_progress(f"Drawing patient {subject.key}", total=len(pictures) + 1) as advance:
        for one in pictures:
            of_slide = scores[scores["slide"] == one.slide]
            mosaic = stitch(of_slide, subject.read(of_slide))
            if options.pictures == "full":
                title = f"Patient {subject.key}, slide {one.slide}"
                draw_slide(mosaic, options, title=title, path=one.picture)
                title = f"{title}, scored by {bundle.name}"
                draw_heatmap(mosaic, of_slide, options, title=title, path=one.heatmap)
            budget = slide_picture_budget(len(of_slide), len(scores))
            complete = bool(lie_on(of_slide, subject.complete).all())
            slides.append(show_slide(mosaic, of_slide, options, complete=complete, budget=budget))
            write_geojson(
                folder / f"patches-{one.slide}.geojson",
                of_slide,
                frame=subject.frames.get(one.slide),
                bundle=bundle.name,
                level=options.outcome.level,
                policy=bundle.record.policy,
            )
            advance(1)
        read = subject.read if options.pictures != "none" else None
        examples = show_examples(scores, options.outcome.level, read)
        drift = PatientDrift.model_validate_json((folder / DRIFT).read_bytes())
        facts = _gather_score_facts(subject, bundle, options, scores, drift)
        write_patient_report(folder / REPORT, scores=scores, slides=slides, examples=examples, facts=facts)
        advance(1)


def _gather_score_facts(
    subject: Subject, bundle: ScoringBundle, options: ScoreOptions, scores: pd.DataFrame, drift: PatientDrift
) -> dict[str, Any]:
    distance = bundle.measure(subject.read(scores.iloc[choose_evenly(len(scores), _MEASURED)]))
    return {
        "hospital": subject.hospital,
        "patient": subject.patient,
        "bundle": bundle.name,
        "record": bundle.record,
        "exposure": subject.exposure,
        "protocol": subject.protocol,
        "warnings": [*subject.warnings, *([] if distance is None else distance.warnings())],
        "drift": drift.state,
        "summary": summarise_patient_scores(scores, options, bundle.record.policy.levels),
        "options": options,
        "content": subject.content,
        "scored_at": datetime.now(UTC),
    }
