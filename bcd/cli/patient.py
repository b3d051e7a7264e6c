"""`bcd patient`: who is in the store, in which split and scored with what, who withdraws, and what is erased."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.completion import complete_hospital, complete_patient
from bcd.cli.options import AsJson, By, DryRun, Reason, command_group
from bcd.patches import SlideId
from bcd.scoring.export.formats import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console

    from bcd.retention.patients import PatientErasure
    from bcd.store.patient_list import PatientSummary

NamedPatient = Annotated[
    str,
    typer.Argument(
        metavar="PATIENT",
        help="The patient: pseudonym, or the hospital's own identifier.",
        autocompletion=complete_patient,
    ),
]
OfHospital = Annotated[
    str,
    typer.Option("--hospital", help="The hospital, where two know the identifier.", autocompletion=complete_hospital),
]

app = command_group(
    "Show patients, export one to other programs; withdraw one, and erase the pixels of those who are withdrawn.",
    "bcd patient list --split test --unscored",
    "bcd patient export 8867 --format ome-tiff --to exports",
    'bcd patient withdraw 8867 --hospital east --by "Dr Lee" --reason "letter of 3 May"',
    'bcd patient complete 8867 --slide 5 --by "Dr Lee" --reason "the whole slide was cut"',
    "bcd patient erase --dry-run",
)


_COLUMNS: Mapping[str, Callable[[PatientSummary], str]] = {
    "patient": lambda each: each.patient + " (withdrawn)" * each.withdrawn,
    "hospital": lambda each: each.hospital,
    "split": lambda each: each.split or "not dealt",
    "patches": lambda each: f"{each.patches:,}",
    "IDC": lambda each: f"{each.positive:,}",
    "unlabelled": lambda each: f"{each.patches - each.labelled:,}",
    "scored with": lambda each: each.bundle or "never",
    "at (UTC)": lambda each: f"{each.scored_at:%Y-%m-%d %H:%M}" if each.scored_at else "",
}


@app.command(name="list")
def list_patients_command(
    *,
    hospital: Annotated[
        str, typer.Option(help="Only patients of this hospital.", autocompletion=complete_hospital)
    ] = "",
    split: Annotated[str, typer.Option(help="Only of this split: train, val, gate or test.")] = "",
    scored: Annotated[
        bool | None, typer.Option("--scored/--unscored", help="Only who was scored, or only who never was.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many rows; --json prints all.")] = 200,
    as_json: AsJson = False,
) -> None:
    """List the patients in the store with their split, their patches and what they were scored with last."""
    from bcd.cli.terminal import open_terminal
    from bcd.errors import NotFoundError
    from bcd.settings import load_settings
    from bcd.snapshots.options import SplitOptions
    from bcd.snapshots.splits import SPLITS
    from bcd.store.patient_list import find_patients
    from bcd.store.store import open_store

    if split and split not in SPLITS:
        raise NotFoundError(f"There is no split {split}.", f"Name one of: {', '.join(SPLITS)}.")
    settings = load_settings()
    protocol = settings.options("splits", SplitOptions).recorded_as
    with open_terminal(settings, as_json=as_json) as console:
        found = find_patients(open_store(settings), protocol, hospital=hospital, split=split, scored=scored)
        console.table(f"Patients, splits of protocol {protocol}", found, _COLUMNS, limit=limit)
        shown = f", {limit:,} of them shown" if len(found) > limit else ""
        console.print(f"{len(found):,} patients{shown}.")


@app.command(name="show")
def show_patient_command(patient: NamedPatient, *, hospital: OfHospital = "", as_json: AsJson = False) -> None:
    """Show one patient: the split, the patches, every score, and who withdrew the patient."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.snapshots.options import SplitOptions
    from bcd.store.ledger import list_ledger
    from bcd.store.patient_list import find_patients
    from bcd.store.patients import find_patient
    from bcd.store.store import open_store
    from bcd.store.withdrawals import list_withdrawals

    settings = load_settings()
    protocol = settings.options("splits", SplitOptions).recorded_as
    with open_terminal(settings, as_json=as_json) as console:
        store = open_store(settings)
        person = find_patient(store, patient, hospital or None)
        known = find_patients(store, protocol, hospital=person[0])
        found = [each for each in known if (each.hospital, each.patient) == person]
        scores = [each for each in list_ledger(store) if (each.hospital, each.patient) == person]
        signed = [each.sign_off for each in list_withdrawals(store) if each.person == person]
        console.table(f"Patient, split of protocol {protocol}", found, _COLUMNS, key="patient")
        console.table(
            "Scores, newest first",
            scores,
            {
                "bundle": lambda each: each.bundle,
                "at (UTC)": lambda each: f"{each.at:%Y-%m-%d %H:%M}",
                "where": lambda each: each.error or each.folder,
            },
            key="scores",
        )
        console.facts({"withdrawn": signed})
        for sign_off in signed:
            console.print(f"Withdrawn {sign_off}", markup=False, soft_wrap=True)


@app.command(name="export")
def export_patient_command(
    patient: NamedPatient,
    *,
    format: Annotated[Format, typer.Option(help="The kind of files.")],  # noqa: A002
    to: Annotated[Path, typer.Option(help="Folder for the files; what it holds of the same names is replaced.")],
    slide: Annotated[list[str] | None, typer.Option(help="A slide; may be repeated. By default all.")] = None,
    source: Annotated[
        Path | None, typer.Option(help="For dicom: file or folder of the DICOM slide that the slide was cut from.")
    ] = None,
    hospital: OfHospital = "",
) -> None:
    """Write a scored patient for other programs: OME-TIFF for QuPath and OMERO, or DICOM for a PACS."""
    from bcd.cli.terminal import open_terminal
    from bcd.errors import BcdError
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    if source is not None and format != "dicom":
        raise BcdError(f"--source is of --format dicom, not {format}.", "Leave it out.")
    settings = load_settings()
    with open_terminal(settings) as console:
        from bcd.scoring.export.formats import write_patient_export
        from bcd.scoring.export.scored import find_scored_patient
        from bcd.scoring.options import ScoreOptions
        from bcd.store.patients import find_patient

        store = open_store(settings)
        person = find_patient(store, patient, hospital or None)
        scored = find_scored_patient(store, *person, settings.options("scoring", ScoreOptions)).choose(
            [SlideId(each) for each in slide or ()]
        )
        for path in write_patient_export(to, scored, format, source):
            console.print(str(path), soft_wrap=True, highlight=False)
        console.print(f"Scored by {scored.bundle}, {scored.at:%Y-%m-%d %H:%M} UTC. Research use only.", style="dim")


@app.command(name="withdraw")
def withdraw_patient_command(
    patient: NamedPatient,
    by: By,
    reason: Reason,
    hospital: OfHospital = "",
) -> None:
    """Record that a patient withdraws consent: no later snapshot holds the patient."""
    from bcd.cli.terminal import open_terminal
    from bcd.gate.history import list_versions_with_verdicts
    from bcd.retention.patients import find_models_of_erased
    from bcd.settings import load_settings
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store
    from bcd.store.withdrawals import find_snapshots_of_withdrawn
    from bcd.store.withdrawals import record_withdrawal as record

    settings = load_settings()
    with open_terminal(settings) as console:
        done, is_new = record(open_store(settings), patient, hospital=hospital or None, sign_off=SignOff(by, reason))
        name = f"Patient {done.hospital}/{done.patient}"
        when = f"{done.sign_off.at:%Y-%m-%d} by {done.sign_off.by}"
        console.print(
            f"{name} is withdrawn." if is_new else f"{name} was withdrawn on {when}: nothing changes.",
        )
        snapshots = find_snapshots_of_withdrawn(settings, [done.person])[done.person]
        if snapshots:
            models = find_models_of_erased(list_versions_with_verdicts(settings))
            trained = [model for snapshot in snapshots for model in models.get(snapshot, [])]
            held = ", ".join(snapshot[:12] for snapshot in snapshots)
            console.print(f"Earlier snapshots that hold the patient: {held}.", soft_wrap=True)
            console.print(
                f"Models that learned from the patient or were evaluated on it: {', '.join(trained) or 'none'}.",
                soft_wrap=True,
            )
        console.print(
            "Next: `bcd patient erase --dry-run`, then `bcd patient erase`, which removes the pixels.",
        )


@app.command(name="complete")
def complete_patient_command(
    patient: NamedPatient,
    by: By,
    reason: Reason,
    slide: Annotated[list[str] | None, typer.Option(help="A slide; may be repeated. By default all.")] = None,
    *,
    part: Annotated[bool, typer.Option("--part", help="Patches of the slide are missing: take it back.")] = False,
    hospital: OfHospital = "",
) -> None:
    """Declare that every patch with tissue of a patient's slides is in the store: their neighbours count then."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings
    from bcd.store.complete import declare_complete_slides
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    settings, sign_off = load_settings(), SignOff(by, reason)
    with open_terminal(settings) as console:
        new = declare_complete_slides(
            open_store(settings),
            patient,
            hospital=hospital or None,
            slides=slide or (),
            complete=not part,
            sign_off=sign_off,
        )
        said = "a part" if part else "complete"
        for whose, person, name in new:
            console.print(f"Slide {name} of patient {whose}/{person} is {said}.", highlight=False)
        if not new:
            console.print(f"That was known to be {said} before: nothing changes.", highlight=False)


@app.command(name="erase")
def erase_patient_command(*, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Erase pixels, scores and refused files of withdrawn patients, and say what remains."""
    from bcd.cli.terminal import open_terminal
    from bcd.retention.patients import erase_withdrawn
    from bcd.settings import load_settings
    from bcd.store.store import open_store

    settings = load_settings()
    with open_terminal(settings, as_json=as_json) as console:
        erasures = erase_withdrawn(open_store(settings), dry_run=dry_run)
        console.facts(erasures)
        if not erasures:
            console.print("No patient is withdrawn: nothing to erase.")
        for erasure in erasures:
            _show_erasure(console, erasure, dry_run=dry_run)


def _show_erasure(console: Console, erasure: PatientErasure, *, dry_run: bool) -> None:
    console.print(f"\n[bold]{erasure.hospital}/{erasure.patient}[/], withdrawn {erasure.withdrawn_at:%Y-%m-%d}")
    lines = [f"{'would remove' if dry_run else 'removed'}: {thing}" for thing in erasure.removed]
    if not erasure.removed:
        lines.append("nothing can be removed now" if erasure.kept else "nothing is left to remove")
    if erasure.kept:
        lines.append(
            f"kept: pixels of {sum(erasure.kept.values()):,} patches, for {', '.join(erasure.models)};"
            " let these versions go (`bcd model prune --keep N`, or delete them in MLflow) and run this again"
        )
    lines += [f"remains: {sentence}" for sentence in erasure.remains]
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)
