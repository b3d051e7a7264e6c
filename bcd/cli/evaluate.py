"""`bcd evaluate`: evaluate a model on a snapshot or on a delivery that is not admitted, or anybody's predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bcd.cli.completion import complete_snapshot
from bcd.cli.options import AsJson

if TYPE_CHECKING:
    from rich.console import Console

    from bcd.evaluation.options import EvaluateOptions
    from bcd.evaluation.report.tables import Table
    from bcd.settings import Settings
    from bcd.validation.model import FileReading
    from bcd.validation.patients import EvaluationProtocol
    from bcd.validation.result import Validation
    from bcd.validation.validate import Found

    How = tuple[EvaluateOptions, EvaluationProtocol, FileReading]

FOLDER = "evaluations"
"""The folder of BCD_HOME in which evaluations are written, unless another is named."""


def evaluate_command(
    *,
    model: Annotated[
        str,
        typer.Option(
            help="models:/bcd-idc@champion, an alias, a version, released, or a Keras file. By default the champion."
        ),
    ] = "",
    beside: Annotated[
        list[str] | None, typer.Option(help="A further model on the same patches; may be repeated.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="Whose patients: natural, founding, cruz-roa-2014 or cruz-roa-2014-dev.")
    ] = "natural",
    snapshot: Annotated[
        str,
        typer.Option(
            help="A snapshot's id, or its beginning. By default the one that the model was trained on.",
            autocompletion=complete_snapshot,
        ),
    ] = "",
    predictions: Annotated[
        Path | None, typer.Option(help="A CSV of anybody's predictions: patient, x, y, label, and scores in [0, 1].")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="A column of scores in that file; may be repeated. By default all others."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A delivery to evaluate on, without admitting it: a folder, a zip or tar.")
    ] = None,
    hospital: Annotated[str, typer.Option(help="The hospital of that delivery.")] = "given",
    spacing: Annotated[
        float | None,
        typer.Option(help="µm per pixel of slides in it that do not state it; or a confirmation."),
    ] = None,
    pixels: Annotated[
        Literal["0..255", "0..1", "-1..1"] | None,
        typer.Option(help="The pixel values that a Keras file expects, where it does not show them."),
    ] = None,
    prepared: Annotated[
        bool,
        typer.Option("--prepared", help="Prepare patches for a Keras file from elsewhere as for bcd's own networks."),
    ] = False,
    prevalence: Annotated[
        float | None, typer.Option(min=0, max=1, help="State precision, F1 and others at this prevalence too.")
    ] = None,
    resamples: Annotated[int | None, typer.Option(help="How often the patients are resampled.")] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="The folder for JSON, scores, pictures and page. By default BCD_HOME/evaluations."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model, or predictions, by patient: metrics, thresholds, differences. Nothing is chosen by it."""
    from bcd.cli.terminal import open_terminal
    from bcd.evaluation.options import EvaluateOptions
    from bcd.settings import load_settings
    from bcd.validation.model import FileReading
    from bcd.validation.page import write_validation

    _require_one_subject(
        model=model, snapshot=snapshot, predictions=predictions, columns=column, data=data, spacing=spacing
    )
    settings = load_settings()
    options = settings.options("evaluation", EvaluateOptions, at_prevalence=prevalence, resamples=resamples)
    models = [model or "champion", *(beside or [])]
    needs_home = not (predictions or data)
    with open_terminal(settings, needs_home=needs_home, as_json=as_json) as console:
        how = (options, _read_protocol(protocol), FileReading(pixels, prepared))
        if predictions:
            found = _evaluate_predictions(settings, predictions, column or [], beside or [], how)
        elif data:
            found = _evaluate_delivery(settings, data, hospital, models, how, spacing=spacing)
        else:
            found = _evaluate_protocol(settings, models, snapshot, how)
        folder = write_validation(*found, to or settings.home / FOLDER)
        console.facts(found[0])
        _show_validation(console, found[0])
        console.print(f"\nPage: {folder / 'index.html'}", soft_wrap=True)
        console.print("Research use only. Not for diagnosis.", style="dim")


def _require_one_subject(
    *,
    model: str,
    snapshot: str,
    predictions: Path | None,
    columns: list[str] | None,
    data: Path | None,
    spacing: float | None,
) -> None:
    from bcd.errors import BcdError

    if predictions and data:
        raise BcdError("--predictions and --data name two things to evaluate.", "Name one of them.")
    if snapshot and (predictions or data):
        raise BcdError("--snapshot names other patients than the file or the delivery.", "Leave one of them out.")
    if spacing is not None and not data:
        raise BcdError("--spacing is of slides in a delivery.", "Name the delivery with --data.")
    if columns and not predictions:
        raise BcdError("--column names columns of no file.", "Name the file with --predictions.")
    if model and predictions:
        raise BcdError("--model evaluates patients of the store.", "Put a model beside predictions with --beside.")


def _read_protocol(name: str) -> EvaluationProtocol:
    from bcd.errors import NotFoundError
    from bcd.validation.patients import PROTOCOLS

    for protocol in PROTOCOLS:
        if protocol == name:
            return protocol
    raise NotFoundError(f"There is no protocol {name}.", f"Name one of {', '.join(PROTOCOLS)}.")


def _evaluate_predictions(settings: Settings, path: Path, columns: list[str], beside: list[str], how: How) -> Found:
    from bcd.store.store import open_store
    from bcd.validation.predictions import read_prediction_file
    from bcd.validation.validate import evaluate_predictions

    options, protocol, reading = how
    predictions = read_prediction_file(path, columns)
    store = open_store(settings) if beside else None
    return evaluate_predictions(store, predictions, beside, options=options, protocol=protocol, reading=reading)


def _evaluate_delivery(
    settings: Settings, path: Path, hospital: str, models: list[str], how: How, *, spacing: float | None
) -> Found:
    from bcd.admission.naming import Naming
    from bcd.store.hospitals import check_hospital, list_hospitals
    from bcd.store.pseudonyms import borrow_pseudonyms
    from bcd.store.store import open_store
    from bcd.validation.validate import evaluate_on_delivery

    options, protocol, reading = how
    name, store = check_hospital(hospital), open_store(settings)
    declared = any(record.hospital.lower() == name.lower() for record in list_hospitals(store))
    naming = Naming(borrow_pseudonyms(store, name)) if declared else None
    return evaluate_on_delivery(
        settings,
        path,
        name,
        models,
        options=options,
        protocol=protocol,
        naming=naming,
        reading=reading,
        spacing=spacing,
    )


def _evaluate_protocol(settings: Settings, models: list[str], snapshot: str, how: How) -> Found:
    from bcd.store.store import open_store
    from bcd.validation.validate import evaluate_on_protocol

    options, protocol, reading = how
    return evaluate_on_protocol(
        open_store(settings), models, protocol, options=options, snapshot=snapshot, reading=reading
    )


def _show_validation(console: Console, validation: Validation) -> None:
    """Prints a validation: several models side by side, or all of one."""
    from bcd.evaluation.report.sections import subgroup_tables
    from bcd.evaluation.report.tables import headline_table, threshold_parts
    from bcd.validation.tables import published_beside_validated, validated_models_table, validated_pairs_table

    console.print(f"\n{validation.title}", style="bold", markup=False)
    for note in validation.notes:
        console.print(note, markup=False)
    evaluations = validation.evaluations
    if validation.differences:
        confidence = next(iter(evaluations.values())).options.confidence
        _show_table(console, "Side by side", validated_models_table(evaluations))
        _show_table(console, "Pair by pair", validated_pairs_table(validation.differences, confidence=confidence))
    else:
        for evaluation in evaluations.values():
            _show_table(console, "Metrics at the sample's own prevalence", headline_table(evaluation))
            for title, table in threshold_parts(evaluation).items():
                _show_table(console, f"Threshold table: {title}", table)
            for title, table in subgroup_tables(evaluation).items():
                _show_table(console, title, table)
    for title, table in published_beside_validated(validation).items():
        _show_table(console, title, table)


def _show_table(console: Console, title: str, table: Table) -> None:
    from bcd.cli.screen import print_table

    print_table(console, title, table.header, table.rows)
    console.print(table.caption, style="dim")
