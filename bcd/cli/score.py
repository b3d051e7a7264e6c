"""`bcd score`: score admitted patients with the champion, or files that are not admitted with any model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.cli.completion import complete_hospital, complete_patient
from bcd.cli.options import AsJson
from bcd.scoring.export.formats import Format

if TYPE_CHECKING:
    from bcd.settings import Settings


def score_command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="A patient; with --to: slides, folders or archives. By default all patients that wait.",
            metavar="WHAT",
            autocompletion=complete_patient,
        ),
    ] = None,
    *,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the scores of files that are given, and are not admitted.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="released, a bundle's folder, an alias or a version. By default the champion, else released."
        ),
    ] = "",
    spacing: Annotated[
        float | None, typer.Option(help="µm per pixel of given slides that do not state it; or a confirmation.")
    ] = None,
    format: Annotated[  # noqa: A002
        Format | None, typer.Option(help="Write given files for other programs, too.")
    ] = None,
    hospital: Annotated[
        str,
        typer.Option(
            help="The patient's hospital; needed where two know the identifier.", autocompletion=complete_hospital
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Score a patient, or with --to files that are not admitted: slide, heatmap, scores, report."""
    from bcd.errors import BcdError
    from bcd.settings import load_settings

    settings = load_settings()
    given = [one.strip() for one in what or [] if one.strip()]
    if to is not None:
        _score_files(
            settings,
            [Path(one) for one in given],
            to,
            model,
            spacing=spacing,
            other=format,
            hospital=hospital.strip(),
            as_json=as_json,
        )
        return
    if any(Path(one).exists() for one in given):
        raise BcdError(f"{given[0]} is a file or folder, and no folder for its scores is named.", "Add --to FOLDER.")
    if model or spacing is not None:
        raise BcdError("--model and --spacing are of files that are given.", "Name them, and --to FOLDER.")
    if format:
        raise BcdError(
            "--format is of files that are given.",
            "Export a scored patient by `bcd patient export PATIENT --format`.",
        )
    if len(given) > 1:
        raise BcdError("One patient is scored at a time, or all that wait.", "Name one, or none.")
    _score_admitted(settings, "".join(given), hospital.strip(), as_json=as_json)


def _score_admitted(settings: Settings, patient: str, hospital: str, *, as_json: bool) -> None:
    from bcd.cli.tables import print_scores
    from bcd.cli.terminal import open_terminal
    from bcd.patches import PatientId
    from bcd.settings import require_home
    from bcd.store.patients import find_hospital
    from bcd.store.store import open_store

    require_home(settings)
    if patient:
        find_hospital(open_store(settings), PatientId(patient), hospital or None)  # before Prefect starts
    with open_terminal(settings, runs_flows=True, as_json=as_json) as console:
        from flows.score import score

        scores = score(patient=patient, hospital=hospital, all_that_wait=not patient)
        print_scores(console, scores)
        if not scores:
            console.print("The champion has scored every patient already.")
            return
        for each in scores:
            console.print(f"{each.hospital}/{each.patient}: {each.report}", soft_wrap=True)


def _score_files(
    settings: Settings,
    paths: list[Path],
    to: Path,
    model: str,
    *,
    spacing: float | None,
    other: Format | None,
    hospital: str,
    as_json: bool,
) -> None:
    """Scores files; no home is begun, no server asked, nothing stored but under `to`."""
    from bcd.cli.screen import Screen
    from bcd.cli.tables import print_scores
    from bcd.cli.terminal import show_terminal_progress
    from bcd.errors import BcdError
    from bcd.patches import Hospital
    from bcd.runtime import enter_runtime
    from bcd.scoring.options import ScoreOptions

    if not paths:
        raise BcdError("No file is named that is to be scored.", "Name slides, folders or archives before --to.")
    options = settings.options("scoring", ScoreOptions)
    enter_runtime(settings)
    console = Screen(as_json=as_json)
    with show_terminal_progress(console):
        from bcd.cli.chosen_model import open_chosen_model
        from bcd.scoring.given import HOSPITAL, score_given
        from bcd.store.hospitals import check_hospital

        named = check_hospital(hospital) if hospital else HOSPITAL
        opened = open_chosen_model(settings, model)
        console.print(f"Scored by {opened.bundle.name}: {opened.said}", soft_wrap=True)
        scores = score_given(
            paths,
            to,
            opened.bundle,
            options,
            seen=opened.seen,
            hospital=Hospital(named),
            spacing=spacing,
            other=other,
            warnings=opened.warnings,
        )
        done = []
        try:
            for each in scores:
                done.append(each)
                console.print(f"{each.patient}: {each.report}", soft_wrap=True)
        finally:  # one patient may fail, and the others are scored
            print_scores(console, done)
        console.print("Nothing was admitted or stored elsewhere. Research use only. Not for diagnosis.", style="dim")
    console.close()
