"""Score: draw a patient's slide and heatmap with the champion, and write the report.

Examples:
        python flows/score.py
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from bcd.config import load_configuration
from bcd.drift.state import Drift
from bcd.errors import BcdError
from bcd.formats import format_count
from bcd.patches import Hospital, PatientId
from bcd.progress import track_progress
from bcd.runtime import rotate_logs
from bcd.scoring.options import ScoreOptions
from bcd.scoring.result import PatientScore
from bcd.scoring.score import find_score_here, patients_to_score, score_patient
from bcd.settings import Settings
from bcd.store.store import open_store
from flows.forms import Scoring, Text
from flows.limits import SCORING, hold_slot
from flows.mapping import Here, open_mapper
from flows.reporting import (
    finish_flow,
    is_scheduled_flow_run,
    link_report_in_artifact,
    name_flow_run,
    publish_markdown,
    publish_picture,
    report_to_prefect,
    tell_of_disk,
    told_to_prefect,
)
from flows.retries import try_again
from flows.watch import tell_drift, warn_of_patients

if TYPE_CHECKING:
    from bcd.bundle.registry import Bundle


@flow(name="score", flow_run_name=name_flow_run)
@told_to_prefect
def score(
    patient: Text = "", hospital: Text = "", *, all_that_wait: bool = False, options: Scoring = None
) -> list[PatientScore]:
    """Scores one patient, or every patient that the champion has not scored yet.

    Args:
        patient: The identifier of a patient; needed unless all that wait are scored.
        hospital: The patient's hospital; needed where two hospitals know the identifier.
        all_that_wait: Score every patient that the champion has not scored yet, and name none; a schedule chooses it.
        options: How patients are scored; empty: as bcd.toml says.
    """
    from bcd.bundle.registry import load_bundle_once, require_version
    from bcd.bundle.watch import compare_scored_with_bundle
    from bcd.store.patients import find_hospital

    _check_choice(patient, all_that_wait=all_that_wait or (is_scheduled_flow_run() and not patient))
    settings = load_configuration()
    options = options or settings.options("scoring", ScoreOptions)
    faults: list[Exception] = []
    done: dict[int, PatientScore] = {}
    named = PatientId(patient)
    with open_store(settings) as store:  # before a slot is waited for: what is wrong is said at once
        chosen = [(find_hospital(store, named, hospital or None), named)] if patient else []
        require_version(settings, "champion")
    with report_to_prefect(), hold_slot(SCORING), open_store(settings) as store:
        tell_of_disk(settings)
        rotate_logs(settings)
        bundle = load_bundle_once(settings)
        chosen = chosen or patients_to_score(store, bundle, options)
        shared = {"version": bundle.name, "options": options}
        calls = [(f"Patient {one}/{other}", {"hospital": one, "patient": other, **shared}) for one, other in chosen]
        with (
            open_mapper(settings) if len(calls) > 1 else nullcontext(Here()) as mapper,
            nullcontext(_ignore) if patient else track_progress("Scoring patients", total=len(chosen)) as advance,
        ):
            for place, outcome in mapper.run_each(score_patient_task, calls):
                try:
                    done[place] = find_score_here(settings, outcome())
                except Exception as error:  # noqa: BLE001 - no patient's fault keeps another from being scored
                    get_run_logger().error("%s", error)
                    faults.append(error)
                advance(1)
        scores = [done[place] for place in sorted(done)]
        if patient:
            publish_scored_patients(settings, scores)
        elif scores:
            publish_markdown("scored", tabulate_scores(settings, scores), "Scored patients. Research use only.")
        if not patient:
            batches = {batch for each in scores for batch in each.batches()}
            tell_drift(
                settings, compare_scored_with_bundle(store, bundle.name, bundle.known, batches) if batches else []
            )
        warn_of_patients(scores)
    if options.shadow:  # every report is there, and others may have the slot: it delays none
        asked = [(one.hospital, one.patient) for one in scores] if patient else None
        _score_in_shadow(settings, bundle, options, asked)
    if faults:
        raise _join_faults(faults, len(chosen))
    named_one = (
        f"{scores[0].hospital}/{scores[0].patient}" if len(scores) == 1 else format_count(len(scores), "patient")
    )
    return finish_flow(
        scores, f"{named_one} scored with {bundle.name}." if scores else "No patient waits to be scored."
    )


def _check_choice(patient: str, *, all_that_wait: bool) -> None:
    if not patient and not all_that_wait:
        raise BcdError("No patient is named.", "Name one, or choose `all_that_wait`.")
    if patient and all_that_wait:
        raise BcdError(f"Patient {patient} is named, and `all_that_wait` is chosen too.", "Choose one of the two.")


@try_again
@task(name="score patient", task_run_name="score {hospital} {patient}", cache_policy=NO_CACHE)
def score_patient_task(hospital: Hospital, patient: PatientId, version: str, options: ScoreOptions) -> PatientScore:
    """Scores one patient with a version of the model."""
    from bcd.bundle.registry import load_bundle_once

    settings = load_configuration()
    with open_store(settings) as store:
        return score_patient(store, load_bundle_once(settings, version), hospital, patient, options)


def _join_faults(faults: list[Exception], tried: int) -> Exception:
    """Returns what a run ends with that failed on some patients: the only error, or the first and their number."""
    if len(faults) == 1:
        return faults[0]
    return BcdError(
        f"{len(faults):,} of {tried:,} patients could not be scored. The first: {faults[0]}",
        "`bcd status` lists them with reason and attempts; the next run tries them again, after all others.",
    )


def _score_in_shadow(
    settings: Settings, bundle: Bundle, options: ScoreOptions, named: list[tuple[Hospital, PatientId]] | None
) -> None:
    """Lets the challenger score unseen, and renews the gate's page; whatever goes wrong with it is a warning."""
    from bcd.gate.shadow import describe_gate_page, find_gate_decision, run_shadow

    try:
        with report_to_prefect(), open_store(settings) as store:
            done = run_shadow(store, bundle, options, named)
            for fault in done.faults if done else ():
                get_run_logger().warning("%s", fault)
            decision = find_gate_decision(store, done.version) if done and done.scored else None
            if decision is not None:
                page = describe_gate_page(store, decision)
                publish_markdown("gate", page, f"The gate: {decision.verdict}, and shadow")
    except Exception as error:  # noqa: BLE001 - the reports are there
        get_run_logger().warning("Nothing was scored in shadow: %s", error)


def publish_scored_patients(settings: Settings, scores: Sequence[PatientScore]) -> None:
    """Leaves each patient's heatmap and report on the dashboard."""
    for scored in scores:
        named, key = f"{scored.hospital}/{scored.patient}", f"{scored.hospital}-{scored.patient}"
        if scored.pictures:
            heatmap = scored.pictures[0].heatmap
            publish_picture(f"heatmap-{key}", heatmap, f"Heatmap of {named}. Research use only.")
        publish_markdown(
            f"report-{key}", describe_score_artifact(settings, scored), f"Report of {named}. Research use only."
        )


def tabulate_scores(settings: Settings, scores: Sequence[PatientScore]) -> str:
    """Returns the table of a night's patients, in which a click opens each report."""
    rows = []
    for each in scores:
        report = link_report_in_artifact(settings, each.report)
        figures = f"{each.n:,} | {each.coverage:.0%} | {each.tumour_fraction:.3f}"
        rows.append(f"| {each.hospital}/{each.patient} | {figures} | {each.drift.state.title} | {report} |")
    header = "| patient | patches | confident | mean probability of IDC | drift | report |"
    return "\n".join([header, "| --- | ---: | ---: | ---: | --- | --- |", *rows])


def _ignore(_amount: float) -> None:
    """One patient's own progress is shown instead."""


def describe_score_artifact(settings: Settings, scored: PatientScore) -> str:
    """Returns what the dashboard shows of a scored patient."""
    return "\n".join(
        [
            f"**Patient {scored.patient} of {scored.hospital}**, scored with {scored.bundle}. Research use only.",
            "",
            f"- {scored.n:,} patches, {scored.coverage:.0%} of them confident",
            f"- mean calibrated probability of IDC {scored.tumour_fraction:.3f}",
            _describe_drift(scored.drift.state),
            f"- report: {link_report_in_artifact(settings, scored.report)}",
            f"- scores: `{scored.scores}`",
        ]
    )


def _describe_drift(state: Drift) -> str:
    said = "**not to be relied on**" if state.colour == "red" else state.title
    return f"- drift: {said}. {' '.join(state.sentences)}"


if __name__ == "__main__":
    score(all_that_wait=True)
