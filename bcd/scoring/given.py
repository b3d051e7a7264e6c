"""Scoring of files that are given and not admitted: slides, patches, archives of them; nothing of them is stored.

They are read by admission's own rules, and every patient leaves a folder with what scoring leaves of any:

    FOLDER/PATIENT/scores.parquet  scores.csv  drift.json  slide-0.webp  heatmap-0.webp  patches-0.geojson
                   report.html
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bcd.admission.preview import SeenDelivery, look_at
from bcd.drift.delivery import MOST_DELIVERED
from bcd.drift.profiles import MOST_PATCHES, choose_evenly, profile_pictures
from bcd.drift.state import Drift, assess_delivery
from bcd.errors import BcdError
from bcd.files import keep_folder, partial_folder
from bcd.options import Microns
from bcd.patches import Hospital, PatientId, Slide, SlideId, lie_on
from bcd.progress import say_progress
from bcd.scoring.bundle import ScoringBundle
from bcd.scoring.export.formats import Format, require_export_format, write_ome_beside_report, write_patient_export
from bcd.scoring.export.scored import ScoredPatient
from bcd.scoring.exposure import Exposure, tell_exposure_of_scored
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import SCORES, PatientScore, Subject, read_result, write_result

if TYPE_CHECKING:
    import pandas as pd

    from bcd.scoring.bundle import SeenPatients
    from bcd.store.frames import Frame

HOSPITAL = Hospital("given")
"""What the hospital of given files is called where nobody says it."""

_SHOWN = 5
_PLACE = ["patient", "slide", "x", "y"]
_UNKNOWN = Exposure(
    None, False, "Whether the model was trained on this patient is not known: it does not say who its patients were."
)


@dataclass(frozen=True)
class _Given:
    """All that was given, as one table of patches.

    Attributes:
        patches: What a subject's patches have, and pixel_sha256; `batch` is the file or folder that they came from.
        pixels: Of each file or folder.
        frames: Of the slides that were cut, by patient and slide.
        complete: The complete slides.
    """

    patches: pd.DataFrame
    pixels: dict[str, NDArray[np.uint8]]
    frames: dict[tuple[PatientId, SlideId], Frame]
    complete: frozenset[Slide]

    def read(self, patches: pd.DataFrame) -> NDArray[np.uint8]:
        """Reads the pixels of rows of the table."""
        found = np.empty((len(patches), *next(iter(self.pixels.values())).shape[1:]), np.uint8)
        batches, rows = patches["batch"].to_numpy(), patches["row"].to_numpy(np.int64)
        for name, pixels in self.pixels.items():
            chosen = np.flatnonzero(batches == name)
            found[chosen] = pixels[rows[chosen]]
        return found


def score_given(
    paths: Sequence[Path],
    to: Path,
    bundle: ScoringBundle,
    options: ScoreOptions,
    *,
    seen: SeenPatients | None,
    hospital: Hospital = HOSPITAL,
    spacing: Microns | None = None,
    other: Format | None = None,
    warnings: Sequence[str] = (),
) -> Iterator[PatientScore]:
    """Scores files that are not admitted, a patient after the other; what an earlier run left of one is replaced.

    Whoever cannot be scored is told and keeps no other from it; the first such error ends the iteration.

    Args:
        paths: Slides, plain pictures, folders, zips or tars.
        to: The folder that takes a folder a patient.
        bundle: What scores.
        options: Level, outcome and drawing.
        seen: Who it was trained on; None: nobody knows.
        hospital: What the hospital is called.
        spacing: In µm per pixel, for slides that do not say it, or to confirm what they say.
        other: For which other programs a patient is written, beside the report.
        warnings: What a reader must know before the scores.

    Raises:
        BcdError: Nothing can be read of a file; it cannot be written for other programs; patches are not as they were
            cut; two files hold the same patch; or a folder of that name holds something else.
    """
    with ExitStack() as stack:
        deliveries = {
            str(path): stack.enter_context(look_at(path, hospital, spacing=spacing, any_name=True)) for path in paths
        }
        for delivery in deliveries.values():
            _tell_refused(delivery)
        given = _join_given_files(deliveries)
        if options.ome:
            require_export_format("ome-tiff", patient=hospital, cut=())
        if other is not None:
            for patient in sorted(given.patches["patient"].unique()):
                cut = [slide for whose, slide in given.frames if whose == patient]
                require_export_format(other, patient=f"{hospital}/{patient}", cut=cut)
        of_patient = [
            (str(patient), patches.reset_index(drop=True))
            for patient, patches in given.patches.groupby("patient", sort=True)
        ]
        together = _assess_given_drift(given, bundle, hospital, [rows for _, rows in of_patient])
        faults = []
        for patient, rows in of_patient:
            frames = {slide: frame for (whose, slide), frame in given.frames.items() if whose == patient}
            pixels = given.read(rows)
            distance = bundle.measure(pixels)
            subject = Subject(
                hospital=hospital,
                patient=PatientId(patient),
                patches=rows,
                read=given.read,
                frames=frames,
                complete=given.complete,
                exposure=_UNKNOWN if seen is None else tell_exposure_of_scored(seen, rows, pixels),
                protocol=bundle.record.protocol,
                content=_hash_given_patches(rows, options, given.complete),
                delivery=together,
                warnings=tuple(warnings),
            )
            try:
                if distance is not None:
                    distance.require_raw(f"Patient {patient}", tiled=set(rows["slide"]) <= set(frames))
                scored = _write_given_score(to / patient, subject, bundle, options, other)
            except (BcdError, OSError) as error:  # no patient's fault keeps another from being scored
                say_progress(f"Patient {patient} was not scored: {error}")
                faults.append(error)
                continue
            yield scored
        if faults:
            raise faults[0]


def _assess_given_drift(
    given: _Given, bundle: ScoringBundle, hospital: Hospital, patients: Sequence[pd.DataFrame]
) -> Drift | None:
    """Compares all patients together with whom the bundle knows; a single one is compared as its slides alone."""
    if bundle.known is None or len(patients) == 1:
        return None
    some = [patients[at] for at in choose_evenly(len(patients), MOST_DELIVERED)]
    found = [profile_pictures(given.read(rows.iloc[choose_evenly(len(rows), MOST_PATCHES)])) for rows in some]
    return assess_delivery(bundle.known, hospital, found)


def _join_given_files(deliveries: dict[str, SeenDelivery]) -> _Given:
    """Joins what several files hold.

    Raises:
        BcdError: Two of them hold the same patch.
    """
    import pandas as pd

    parts = [one.patches.assign(batch=name, row=one.rows) for name, one in deliveries.items()]
    patches = pd.concat(parts, ignore_index=True)
    twice = patches[patches.duplicated(_PLACE, keep=False)].sort_values(_PLACE)
    if len(twice):
        first, second = twice["batch"].iloc[:2]
        raise BcdError(
            f"{first} and {second} both hold patches of patient {twice['patient'].iloc[0]},"
            f" slide {twice['slide'].iloc[0]}, at the same place: {len(twice) // 2:,} in all.",
            "Give each slide once, or name the files PATIENT_idxSLIDE, as 8867_idx5.svs.",
        )
    frames = {key: frame for one in deliveries.values() for key, frame in one.frames.items()}
    complete = frozenset[Slide]().union(*(one.complete for one in deliveries.values()))
    return _Given(patches, {name: one.pixels for name, one in deliveries.items()}, frames, complete)


def _hash_given_patches(patches: pd.DataFrame, options: ScoreOptions, complete: Collection[Slide]) -> str:
    whole = patches[lie_on(patches, complete)]
    rows = patches[["slide", "x", "y", "label", "pixel_sha256"]].to_csv(index=False, na_rep="?")
    told = "".join(f"\ncomplete {slide}" for slide in sorted(whole["slide"].astype(str).unique()))
    return hashlib.sha256(f"{options.fingerprint()}\n{rows}{told}".encode()).hexdigest()


def _write_given_score(
    folder: Path, subject: Subject, bundle: ScoringBundle, options: ScoreOptions, other: Format | None
) -> PatientScore:
    import pandas as pd

    if folder.exists() and not (folder / SCORES).is_file():
        raise BcdError(f"{folder} is there and holds no scores of bcd.", "Name another folder with --to.")
    with partial_folder(folder.parent) as partial:
        write_result(partial, subject, bundle, options)
        pd.read_parquet(partial / SCORES).to_csv(partial / "scores.csv", index=False)
        if options.ome or other is not None:
            scored = ScoredPatient.of(partial, subject, bundle, options)
            if options.ome:
                write_ome_beside_report(partial, scored)
            if other is not None:
                list(write_patient_export(partial, scored, other))
        if folder.exists():
            shutil.rmtree(folder)
        keep_folder(partial, folder)
    return read_result(folder, subject.hospital, subject.patient, bundle, options)


def _tell_refused(delivery: SeenDelivery) -> None:
    for reason in delivery.reasons[:_SHOWN]:
        say_progress(f"Not scored: {reason}")
    if len(delivery.reasons) > _SHOWN:
        by_rule = ", ".join(f"{rule} {count:,}" for rule, count in delivery.refused.items())
        say_progress(f"Not scored, {len(delivery.reasons):,} files of {delivery.name} in all, by rule: {by_rule}.")
