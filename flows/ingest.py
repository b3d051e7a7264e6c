"""Ingest: admit a delivery, or everything that waits in the inbox.

Every batch that is admitted emits the event `bcd.batch.admitted`, which starts the `retrain` deployment.

Examples:
        python flows/ingest.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from bcd.admission.admit import Admission, admit
from bcd.admission.beside import describe_delivered_labels
from bcd.admission.cut import Tiler
from bcd.admission.delivery import find_deliveries
from bcd.admission.received import locate_in_inbox
from bcd.admission.refused import RefusedError
from bcd.admission.report import admission_report_path
from bcd.admission.slides.tiling import SlideError, Tiles, tile_slide
from bcd.admission.sources.remote import fetch_delivery, is_delivery_url
from bcd.admission.waiting import find_stuck
from bcd.bundle.watch import watch_delivery
from bcd.config import load_configuration
from bcd.errors import BcdError, UnavailableError
from bcd.formats import format_count, format_some
from bcd.options import Microns
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.drift import find_drift
from bcd.store.hospitals import list_hospitals
from bcd.store.store import open_store
from flows.forms import Place, Spacing, Text
from flows.mapping import Here, Mapper, open_mapper
from flows.reporting import (
    finish_flow,
    link_report_in_artifact,
    name_flow_run,
    publish_markdown,
    report_to_prefect,
    told_to_prefect,
)
from flows.retries import try_again
from flows.watch import tell_drift


@flow(name="ingest", flow_run_name=name_flow_run)
@told_to_prefect
def ingest(delivery: Place = "", hospital: Text = "", spacing: Spacing = None) -> list[Admission]:
    """Admits deliveries: each becomes a batch, and what is refused is kept in quarantine with its reason.

    Args:
        delivery: A delivery in the inbox, as HOSPITAL/NAME; empty: all that waits. From elsewhere: `bcd ingest`.
        hospital: The hospital it comes from; empty: as its folder in the inbox says.
        spacing: In µm per pixel, for slides that do not say it, or to confirm one coarser than 1.2; at most 5.
    """
    settings = load_configuration()
    faults: list[Exception] = []
    admissions: list[Admission] = []
    with report_to_prefect():
        if delivery and runtime.deployment.id:
            # Whoever may open the dashboard's form may not therefore read every path of this machine.
            with open_store(settings) as store:
                hospital, path = locate_in_inbox(store, delivery, hospital)
            try:
                admissions.append(admit_delivery_task(path, hospital, spacing))
            except UnavailableError:
                if path.exists():
                    raise
                return finish_flow([], f"Another run has taken {delivery}.")
        elif delivery:
            fetched = (
                fetch_delivery(delivery, settings.scratch)
                if is_delivery_url(delivery)
                else nullcontext(Path(delivery))
            )
            with fetched as path:
                admissions.append(admit_delivery_task(path, Hospital(hospital), spacing))
        for each_hospital, path in [] if delivery else _declared_deliveries(settings):
            try:
                admissions.append(admit_delivery_task(path, each_hospital, spacing))
            except Exception as error:  # noqa: BLE001 - whatever it is, one delivery must not hold up another
                if not isinstance(error, UnavailableError) or path.exists():  # otherwise another run has taken it
                    faults.append(error)
    if admissions:
        publish_markdown("admission", _describe_admissions(settings, admissions), "What was admitted and refused")
    if faults:
        raise _join_faults(faults, len(admissions))
    return finish_flow(admissions, _sum_up(admissions))


@try_again
@task(name="admit delivery", task_run_name="admit a delivery of {hospital}", cache_policy=NO_CACHE)
def admit_delivery_task(path: Path, hospital: Hospital, spacing: float | None = None) -> Admission:
    """Admits one delivery and tells the server about a new batch."""
    settings = load_configuration()
    try:
        with open_store(settings) as store:
            admission = admit(
                store, path, hospital, spacing=spacing, open_tiler=lambda slides: _open_tiler(settings, slides)
            )
    except RefusedError as error:
        if error.trace:  # bcd failed at it: the sentence alone does not tell where
            get_run_logger().error("%s", error.trace)
        raise
    if admission.batch and not admission.already:
        emit_event(
            event="bcd.batch.admitted",
            resource={"prefect.resource.id": f"bcd.hospital.{hospital}", "prefect.resource.name": hospital},
            payload={"batch": admission.batch, "patches": admission.admitted, "patients": admission.patients},
        )
        _watch_delivery(settings, admission)
    return admission


@contextmanager
def _open_tiler(settings: Settings, slides: int) -> Iterator[Tiler]:
    """Yields who cuts the slides of a delivery: several at a time where `[run]` names a cluster."""
    with open_mapper(settings) if slides > 1 else nullcontext(Here()) as mapper:
        yield Tiler() if isinstance(mapper, Here) else Tiler(partial(_cut_elsewhere, mapper), mapper.width)


def _cut_elsewhere(mapper: Mapper, path: Path, spacing: Microns | None, coarsest: Microns) -> Iterable[Tiles]:
    call = {"path": path, "spacing": spacing, "coarsest": coarsest}
    outcome = mapper.submit(cut_slide_task, ("A slide", call))

    def take() -> Iterator[Tiles]:
        found = outcome()
        if isinstance(found, SlideError):
            raise found
        yield from tile_slide(path, spacing, coarsest) if found is None else found

    return take()


@try_again
@task(name="cut slide", task_run_name="cut a slide", cache_policy=NO_CACHE)
def cut_slide_task(path: Path, spacing: Microns | None, coarsest: Microns) -> list[Tiles] | SlideError | None:
    """Cuts a slide; returns why it gives no patches where that is so, and None where this machine does not see it."""
    if not path.exists():
        return None
    try:
        return list(tile_slide(path, spacing, coarsest))
    except SlideError as error:  # a slide that is refused is no task that failed
        return error


def _watch_delivery(settings: Settings, admission: Admission) -> None:
    """Compares a new delivery with the champion's patients; what keeps it from that is made up for by `monitor`."""
    try:
        with open_store(settings) as store:
            record = watch_delivery(store, admission)
    except BcdError as error:
        get_run_logger().warning("%s was admitted and not compared for drift: %s", admission.delivery, error)
        return
    if record is not None:
        tell_drift(settings, [record])


def _declared_deliveries(settings: Settings) -> list[tuple[Hospital, Path]]:
    """Finds what waits; deliveries that no run takes stay where they are, and the dashboard says so."""
    with open_store(settings) as store:
        stuck = find_stuck(store)
        declared = {record.hospital for record in list_hospitals(store)}
    for each in stuck:
        get_run_logger().warning("%s", each)
    if stuck:
        lines = [
            "**Warning.** These deliveries wait for a person; no run takes them.",
            *(f"- {each}" for each in stuck),
        ]
        publish_markdown("waiting", "\n".join(lines), "Warning: deliveries that no run takes")
    return [(hospital, path) for hospital, path in find_deliveries(settings) if hospital in declared]


def _sum_up(admissions: list[Admission]) -> str:
    if not admissions:
        return "Nothing waits in the inbox."
    named = format_some([each.delivery for each in admissions], 3)
    patches, patients = (sum(getattr(each, what) for each in admissions) for what in ("admitted", "patients"))
    refused = sum(sum(each.refused.values()) for each in admissions)
    of = f"{patches:,} patches of {format_count(patients, 'patient')}"
    return f"{named}: {of}, {format_count(refused, 'file')} refused."


def _join_faults(faults: list[Exception], admitted: int) -> Exception:
    """Returns the one fault, or what all of them say, after every delivery had its turn."""
    if len(faults) == 1:
        return faults[0]
    said = [str(fault) if isinstance(fault, BcdError) else f"{type(fault).__name__}: {fault}" for fault in faults]
    return BcdError(
        "\n".join([f"{len(faults):,} deliveries are not admitted; {admitted:,} {_is(admitted)}.", *said]),
        "`bcd batch list` lists what was refused.",
    )


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _describe_admissions(settings: Settings, admissions: list[Admission]) -> str:
    lines = [
        "| delivery | hospital | patches | refused | ignored | patients | flags | drift | report |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    with open_store(settings) as store:
        for each in admissions:
            refused, flags = _count_by_rule(each.refused), _count_by_rule(each.flags)
            note = " (admitted before)" if each.already else ""
            report = link_report_in_artifact(settings, admission_report_path(settings, each.id))
            counts = f"{each.admitted} | {refused} | {each.ignored} | {each.patients} | {flags}"
            compared = find_drift(store, each.id)
            drift = compared.title if compared else "not compared"
            lines.append(f"| {each.delivery}{note} | {each.hospital} | {counts} | {drift} | {report} |")
        lines += [
            f"\n{each.delivery}: {line}" for each in admissions for line in describe_delivered_labels(store, each)
        ]
    return "\n".join(lines)


def _count_by_rule(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in sorted(counts.items())) or "0"


if __name__ == "__main__":
    ingest()
