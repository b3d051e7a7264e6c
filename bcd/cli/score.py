"""`bcd score`: score patients with the champion."""

from __future__ import annotations

from typing import Annotated

import typer


def score(
    patient: Annotated[str, typer.Argument(help="The patient; none: all that the champion has not scored yet.")] = "",
    hospital: Annotated[str, typer.Option(help="The patient's hospital; needed where two know the identifier.")] = "",
) -> None:
    """Score a patient with the champion: slide, heatmap, scores as Parquet, report."""
    from bcd.cli.tables import score_rows
    from bcd.cli.terminal import at_work, print_table
    from bcd.patches import PatientId
    from bcd.settings import load_settings, require_home
    from bcd.store.patients import find_hospital
    from bcd.store.store import open_store

    settings = load_settings()
    require_home(settings)
    patient, hospital = patient.strip(), hospital.strip()
    if patient:
        find_hospital(open_store(settings), PatientId(patient), hospital or None)  # before Prefect starts
    with at_work(settings, runs_flows=True) as console:
        from flows.score import score as score_flow

        scores = score_flow(patient=patient, hospital=hospital, all_that_wait=not patient)
        if not scores:
            console.print("The champion has scored every patient already.")
            return
        print_table(console, "Scores", *score_rows(scores))
        for each in scores:
            console.print(f"{each.hospital}/{each.patient}: {each.report}", soft_wrap=True)
