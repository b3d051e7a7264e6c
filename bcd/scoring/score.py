"""Scoring: a patient's patches -> stored scores -> slide, heatmap, report, ledger entry.

A scored patient is a folder of BCD_HOME, whole or absent, named by bundle and content:

    scores/HOSPITAL/PATIENT/BUNDLE-CONTENT/scores.parquet  slide-5.webp  …  report.html

The content hash covers the patient's patches with their labels, and the options: new patches or a corrected
label are scored anew, and the same again is found done. The folder's name also tells a bundle from another one of
the same name, which a registry has that was begun anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bcd.errors import BcdError, UnavailableError
from bcd.files import whole_folder
from bcd.patches import Hospital, PatientId
from bcd.progress import say_progress
from bcd.scoring.bundle import ScoringBundle
from bcd.scoring.export.formats import require_export_format, write_ome_beside_report
from bcd.scoring.export.scored import ScoredPatient
from bcd.scoring.job import (
    ScoringJob,
    is_scoring_recorded,
    make_scoring_subject,
    open_scoring_job,
    open_scoring_jobs,
    record_scoring_job,
)
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import PatientScore, SlidePictures, read_result, write_result
from bcd.store.objects import in_use, list_stored, put, require

if TYPE_CHECKING:
    from bcd.settings import Settings
    from bcd.store.store import Store


def score_patient(
    store: Store,
    bundle: ScoringBundle,
    hospital: Hospital,
    patient: PatientId,
    options: ScoreOptions,
    *,
    protocol: str | None = None,
) -> PatientScore:
    """Scores one patient with a bundle, once: the same patches, options and bundle again are found done.

    Args:
        store: Knows the patient and keeps the ledger.
        bundle: What scores.
        hospital: The patient's hospital.
        patient: The patient.
        options: Level, outcome and drawing.
        protocol: The protocol under which the report names the patient's split; by default the bundle's own.

    Raises:
        BcdError: The patient is unknown, or could not be scored; the latter is in the ledger.
    """
    job = open_scoring_job(store, bundle, hospital, patient, options, protocol)
    found = require(store.settings, job.folder).exists()
    if not found:
        if options.ome:
            require_export_format("ome-tiff", patient=job.key, cut=())
        record_scoring_job(job, "started")
        try:
            with whole_folder(job.folder) as partial:
                subject = make_scoring_subject(job)
                write_result(partial, subject, bundle, options)
                if options.ome:
                    write_ome_beside_report(partial, ScoredPatient.of(partial, subject, bundle, options))
            put(store.settings, job.folder)
        except BaseException as error:
            record_scoring_job(job, "failed", error)  # a person who interrupts it is no reason to give it up
            if not isinstance(error, Exception):
                raise
            raise _name_scoring_error(error, job) from error
    recorded = is_scoring_recorded(job)
    if not recorded:
        put(store.settings, job.folder)  # also where a process was killed before
        record_scoring_job(job, "scored")
    if found:
        say_progress(f"Patient {job.key} was already scored with {bundle.name}.")
    skipped = found and recorded
    with in_use(store.settings, job.folder) as folder:
        return read_result(folder, job.hospital, job.patient, bundle, options, skipped=skipped)


def find_score_here(settings: Settings, scored: PatientScore) -> PatientScore:
    """Returns a score as it lies on this machine, fetched where another one scored the patient.

    Raises:
        UnavailableError: It is not here, and the store does not have it.
    """
    folder = settings.scores / scored.hospital / scored.patient / scored.folder.name
    if folder == scored.folder:
        return scored
    if not require(settings, folder).exists():
        raise UnavailableError(
            f"Patient {scored.hospital}/{scored.patient} was scored into {scored.folder}, which is not here.",
            "Name the store of all machines in store_url.",
        )
    pictures = [
        SlidePictures(each.slide, folder / each.picture.name, folder / each.heatmap.name) for each in scored.pictures
    ]
    return replace(scored, folder=folder, pictures=tuple(pictures))


def patients_to_score(store: Store, bundle: ScoringBundle, options: ScoreOptions) -> list[tuple[Hospital, PatientId]]:
    """Lists the patients who, as they are now, were not yet scored with this bundle and these options.

    Whom earlier attempts failed on come last, so that they keep nobody else waiting; whoever ended several processes
    in a row is left out, until a person asks for that patient or something of the patient changes.
    """
    from bcd.store.ledger import list_failing

    scored = set(list_stored(store.settings, store.settings.scores, "*/*/*"))
    failing = {(one.hospital, one.patient): one for one in list_failing(store)}
    waiting: list[tuple[int, Hospital, PatientId]] = []
    for job in open_scoring_jobs(store, bundle, options):
        if job.folder in scored and is_scoring_recorded(job):
            continue
        known = failing.get((job.hospital, job.patient))
        if known is None:
            waiting.append((0, job.hospital, job.patient))
        elif not (known.is_given_up and (known.bundle, known.content) == (bundle.name, job.content)):
            waiting.append((known.attempts, job.hospital, job.patient))
    return [(hospital, patient) for _, hospital, patient in sorted(waiting)]


def _name_scoring_error(error: Exception, job: ScoringJob) -> BcdError:
    if isinstance(error, BcdError):
        kind = UnavailableError if isinstance(error, UnavailableError) else BcdError
        return kind(f"Patient {job.key} could not be scored: {error.what}", error.fix)
    return BcdError(
        f"Patient {job.key} could not be scored: {type(error).__name__}: {error}.",
        "The ledger keeps this failure; the next run tries the patient again.",
    )
