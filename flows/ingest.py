"""Ingest: admit a delivery, or everything that waits in the inbox.

Every batch that is admitted emits the event `bcd.batch.admitted`, which starts the `retrain` deployment.

Example:
    python flows/ingest.py
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from prefect import flow, get_run_logger, runtime
from prefect.events import emit_event

from bcd.admission.admit import Admission, admit
from bcd.admission.delivery import find_deliveries
from bcd.admission.inbox import locate, set_aside
from bcd.admission.sources.remote import fetch_delivery, is_url
from bcd.config import load_configuration
from bcd.errors import BcdError, UnavailableError
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.catalog import open_catalog
from bcd.store.hospitals import find_declared
from flows.forms import Text
from flows.reporting import publish_markdown, reporting, run_name, told, told_task


@flow(name="ingest", flow_run_name=run_name)
@told
def ingest(delivery: Text = "", hospital: Text = "", spacing: float | None = None) -> list[Admission]:
    """Admits deliveries: each becomes a batch, and what is refused is kept in quarantine with its reason.

    Args:
        delivery: A delivery in the inbox, as HOSPITAL/NAME; empty: all that waits. From elsewhere: `bcd ingest`.
        hospital: The hospital it comes from; empty: as its folder in the inbox says.
        spacing: In µm per pixel, for slides that do not say it.
    """
    settings = load_configuration()
    faults: list[BcdError] = []
    admissions: list[Admission] = []
    with reporting():
        if delivery and runtime.deployment.id:
            # Whoever may open the dashboard's form may not therefore read every path of this machine.
            hospital, path = locate(settings, delivery, hospital)
            admissions.append(admit_delivery(path, hospital, spacing))
        elif delivery:
            fetched = fetch_delivery(delivery, settings.scratch) if is_url(delivery) else nullcontext(Path(delivery))
            with fetched as path:
                admissions.append(admit_delivery(path, Hospital(hospital), spacing))
        for each_hospital, path in [] if delivery else _declared_deliveries(settings):
            try:
                admissions.append(admit_delivery(path, each_hospital, spacing))
            except UnavailableError as error:  # it stays for the next run
                get_run_logger().warning("%s", error)
                faults += [error] if path.exists() else []  # otherwise another run has taken it
            except BcdError as error:
                # One hospital's bad delivery must not hold up another's, nor be tried again every minute.
                get_run_logger().error("%s", error)
                faults.append(error)
                if path.exists():  # another run may have come to the same
                    set_aside(settings, path, each_hospital, reason=str(error))
    if admissions:
        publish_markdown("admission", _describe(settings, admissions), "What was admitted and refused")
    if faults:
        raise faults[0]
    return admissions


@told_task("admit delivery", "admit a delivery of {hospital}")
def admit_delivery(path: Path, hospital: Hospital, spacing: float | None = None) -> Admission:
    """Admits one delivery and tells the server about a new batch."""
    settings = load_configuration()
    admission = admit(settings, open_catalog(settings), path, hospital, spacing=spacing)
    if admission.batch and not admission.already:
        emit_event(
            event="bcd.batch.admitted",
            resource={"prefect.resource.id": f"bcd.hospital.{hospital}", "prefect.resource.name": hospital},
            payload={"batch": admission.batch, "patches": admission.admitted, "patients": admission.patients},
        )
    return admission


def _declared_deliveries(settings: Settings) -> list[tuple[Hospital, Path]]:
    """Finds what waits; deliveries of a hospital that nobody has declared stay where they are."""
    catalog = open_catalog(settings)
    declared = []
    undeclared: dict[Hospital, str] = {}
    for hospital, path in find_deliveries(settings):
        try:
            find_declared(catalog, hospital)
        except BcdError as error:
            undeclared[hospital] = str(error)
        else:
            declared.append((hospital, path))
    for reason in undeclared.values():
        get_run_logger().warning("Its deliveries wait: %s", reason)
    return declared


def _describe(settings: Settings, admissions: list[Admission]) -> str:
    lines = [
        "| delivery | hospital | patches | refused | ignored | patients | flags | report |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in admissions:
        refused, flags = _counts(each.refused), _counts(each.flags)
        note = " (admitted before)" if each.already else ""
        report = (settings.reports / f"{each.id[:12]}.html").relative_to(settings.home)
        counts = f"{each.admitted} | {refused} | {each.ignored} | {each.patients} | {flags}"
        lines.append(f"| {each.delivery}{note} | {each.hospital} | {counts} | `{report}` |")
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in sorted(counts.items())) or "0"


if __name__ == "__main__":
    ingest()
