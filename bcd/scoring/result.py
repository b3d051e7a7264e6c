"""What scoring leaves of a patient: scores, slide, heatmap, GeoJSON and report, wherever the patches came from.

    scores.parquet  slide-5.png  heatmap-5.png  patches-5.geojson  report.html

Everything that is drawn and reported is computed from the stored scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError
from bcd.patches import CELL, Hospital, PatientId
from bcd.progress import track_progress
from bcd.scoring.geojson import write_geojson
from bcd.scoring.heatmap import draw_heatmap, draw_slide
from bcd.scoring.mosaic import stitch
from bcd.scoring.options import ScoreOptions
from bcd.scoring.report import pick_suspicious_patches, show_examples, slide_picture_budget, write_patient_report
from bcd.scoring.shown import show_slide
from bcd.scoring.summary import Summary, summarise_patient_scores

if TYPE_CHECKING:
    import pandas as pd

    from bcd.scoring.exposure import Exposure
    from bcd.store.frames import Frame

SCORES, REPORT = "scores.parquet", "report.html"

_MEASURED = 512  # patches whose stain and detail are measured


class ScoringBundle(Protocol):
    """What scores.

    Attributes:
        name: What it is called, such as `bcd-idc/3`.
        record: Its record.
        seen: Who it was trained on, of a bundle that came from elsewhere; None: its snapshot says it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def record(self) -> Any: ...  # noqa: D102
    @property
    def seen(self) -> Any: ...  # noqa: D102

    def score(self, pixels: NDArray[np.uint8]) -> pd.DataFrame:
        """Scores raw patches: logit, probability, confident_* by level, a row a patch."""
        ...

    def measure(self, pixels: NDArray[np.uint8]) -> Any:
        """Measures how far patches lie from those that it was trained on; None where it cannot say."""
        ...


@dataclass(frozen=True)
class Subject:
    """A patient to be scored, wherever the patches lie.

    Attributes:
        hospital: The patient's hospital.
        patient: The patient.
        patches: hospital, patient, slide, x, y, label (NA = unlabelled), batch and row (where the pixels are).
        read: Reads the pixels of rows of `patches`, (n, 50, 50, 3) uint8.
        frames: Of the slides that bcd cut itself.
        exposure: What the bundle knew of the patient.
        protocol: The protocol under which the patient's split is named.
        content: Hash of the patches, their labels and the options.
        warnings: What a reader must know before the scores.
    """

    hospital: Hospital
    patient: PatientId
    patches: pd.DataFrame
    read: Callable[[pd.DataFrame], NDArray[np.uint8]]
    frames: Mapping[str, Frame]
    exposure: Exposure
    protocol: str
    content: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def key(self) -> str:
        """The patient in one word."""
        return f"{self.hospital}/{self.patient}"


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
        return self.folder / SCORES

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / REPORT

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


def write_result(folder: Path, subject: Subject, bundle: ScoringBundle, options: ScoreOptions) -> None:
    """Scores a patient and writes all that scoring leaves into a folder that is there.

    Raises:
        BcdError: The bundle gives no finite score, or a slide cannot be drawn.
    """
    _store_scores(folder, subject, bundle)
    _draw(folder, subject, bundle, options)


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
        pictures=_list_pictures(folder, scores),
        summary=summarise_patient_scores(scores, options, bundle.record.policy.levels),
        skipped=skipped,
    )


def _list_pictures(folder: Path, scores: pd.DataFrame) -> tuple[SlidePictures, ...]:
    counts = scores["slide"].value_counts()
    slides = sorted((str(slide) for slide in counts.index), key=lambda slide: (-int(counts[slide]), slide))
    return tuple(
        SlidePictures(slide, folder / f"slide-{slide}.png", folder / f"heatmap-{slide}.png") for slide in slides
    )


def _store_scores(folder: Path, subject: Subject, bundle: ScoringBundle) -> None:
    import pandas as pd

    given = bundle.score(subject.read(subject.patches)).reset_index(drop=True)
    if not np.isfinite(given[["logit", "probability"]].to_numpy(np.float64)).all():
        raise BcdError(f"{bundle.name} gave scores that are no numbers.", "Go back to the previous champion.")
    # The label kept is the pathologist's; what the bundle calls a patch follows from its probability.
    # Batch and row say where the pixels are, so that the pictures can be drawn again.
    kept = [*CELL, "label", "batch", "row"]
    added = ["logit", "probability", *(name for name in given if str(name).startswith("confident"))]
    pd.concat([subject.patches[kept], given[added]], axis=1).to_parquet(folder / SCORES, index=False)


def _draw(folder: Path, subject: Subject, bundle: ScoringBundle, options: ScoreOptions) -> None:
    """Draws and reports what the stored scores of the folder hold."""
    import pandas as pd

    scores = pd.read_parquet(folder / SCORES)
    pictures = _list_pictures(folder, scores)
    slides = []
    with track_progress(f"Drawing patient {subject.key}", total=len(pictures) + 1) as advance:
        for one in pictures:
            of_slide = scores[scores["slide"] == one.slide]
            mosaic = stitch(of_slide, subject.read(of_slide))
            title = f"Patient {subject.key}, slide {one.slide}"
            draw_slide(mosaic, options, title=title, path=one.picture)
            title = f"{title}, scored by {bundle.name}"
            draw_heatmap(mosaic, of_slide, options, title=title, path=one.heatmap)
            budget = slide_picture_budget(len(of_slide), len(scores))
            slides.append(show_slide(mosaic, of_slide, options, budget=budget))
            write_geojson(
                folder / f"patches-{one.slide}.geojson",
                of_slide,
                frame=subject.frames.get(one.slide),
                bundle=bundle.name,
                level=options.outcome.level,
                policy=bundle.record.policy,
            )
            advance(1)
        suspicious, uncertain = (
            show_examples(picked, subject.read(picked)) for picked in pick_suspicious_patches(scores)
        )
        facts = _facts(subject, bundle, options, scores)
        write_patient_report(folder / REPORT, slides=slides, suspicious=suspicious, uncertain=uncertain, facts=facts)
        advance(1)


def _facts(subject: Subject, bundle: ScoringBundle, options: ScoreOptions, scores: pd.DataFrame) -> dict[str, Any]:
    some = scores.iloc[np.linspace(0, len(scores) - 1, min(len(scores), _MEASURED)).astype(int)]
    distance = bundle.measure(subject.read(some))
    return {
        "hospital": subject.hospital,
        "patient": subject.patient,
        "bundle": bundle.name,
        "record": bundle.record,
        "exposure": subject.exposure,
        "protocol": subject.protocol,
        "warnings": [*subject.warnings, *([] if distance is None else distance.warnings())],
        "distance": distance,
        "summary": summarise_patient_scores(scores, options, bundle.record.policy.levels),
        "options": options,
        "content": subject.content,
        "scored_at": datetime.now(UTC),
    }
