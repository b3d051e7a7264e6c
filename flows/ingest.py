"""Ingest: admit a delivery, or everything that waits in the inbox.

Every batch that is admitted emits the event `bcd.batch.admitted`, which starts the `retrain` deployment.

Example:
    python flows/ingest.py
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from bcd.admission.admit import Admission, admit
from bcd.admission.delivery import check_delivery, find_deliveries
from bcd.admission.inbox import set_aside
from bcd.errors import BcdError
from bcd.patches import Hospital
from bcd.settings import load_settings
from bcd.store.catalog import open_catalog
from flows.reporting import publish_markdown, reporting, run_name


@flow(name="ingest", flow_run_name=run_name)
def ingest(delivery: str = "", hospital: str = "") -> list[Admission]:
    """Admits deliveries: each becomes a batch, and what is refused is kept in quarantine with its reason.

    Args:
        delivery: Folder or zip to admit; empty: all that waits in the inbox.
        hospital: The hospital it comes from; needed with a delivery.
    """
    settings = load_settings()
    named = [(Hospital(hospital), Path(delivery))] if delivery else find_deliveries(settings)
    faults: list[BcdError] = []
    admissions: list[Admission] = []
    with reporting():
        for each_hospital, path in named:
            try:
                admissions.append(admit_delivery(path, each_hospital))
            except BcdError as error:
                # One hospital's bad delivery must not hold up another's, nor be tried again every minute.
                get_run_logger().error("%s", error)
                faults.append(error)
                if not delivery:
                    set_aside(settings, path, each_hospital, reason=str(error))
    if admissions:
        publish_markdown("admission", _describe(admissions), "What was admitted and refused")
    if faults:
        raise faults[0]
    return admissions


@task(name="admit delivery", task_run_name="admit {path.name}", cache_policy=NO_CACHE)
def admit_delivery(path: Path, hospital: Hospital) -> Admission:
    """Admits one delivery and tells the server about a new batch."""
    check_delivery(path)
    settings = load_settings()
    admission = admit(settings, open_catalog(settings), path, hospital)
    if admission.batch and not admission.already:
        emit_event(
            event="bcd.batch.admitted",
            resource={"prefect.resource.id": f"bcd.hospital.{hospital}", "prefect.resource.name": hospital},
            payload={"batch": admission.batch, "patches": admission.admitted, "patients": admission.patients},
        )
    return admission


def _describe(admissions: list[Admission]) -> str:
    lines = [
        "| delivery | hospital | admitted | refused | ignored | patients |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in admissions:
        refused = ", ".join(f"{count} {rule}" for rule, count in sorted(each.refused.items())) or "0"
        note = " (admitted before)" if each.already else ""
        counts = f"{each.admitted} | {refused} | {each.ignored} | {each.patients}"
        lines.append(f"| {each.delivery}{note} | {each.hospital} | {counts} |")
    return "\n".join(lines)


if __name__ == "__main__":
    ingest()
