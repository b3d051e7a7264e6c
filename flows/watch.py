"""What flows say of drift: a warning at the run, and the event `bcd.drift`, for every delivery not to be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import get_run_logger

from bcd.scoring.result import PatientScore
from bcd.settings import Settings
from bcd.store.delivery_queries import list_stored_deliveries
from bcd.store.drift import DriftRecord
from bcd.store.store import open_store
from flows.reporting import publish_markdown, tell


def tell_drift(settings: Settings, records: Sequence[DriftRecord]) -> None:
    """Warns of deliveries whose scores are not to be relied on."""
    untrusted = [record for record in records if not record.is_trusted]
    if not untrusted:
        return
    with open_store(settings) as store:
        names = {each.id: each.name for each in list_stored_deliveries(store)}
    sentences = [
        f"{names[record.delivery]} of {record.hospital}: scores of {record.bundle} are not to be relied on. "
        + " ".join(record.state["reasons"])
        for record in untrusted
    ]
    for record, sentence in zip(untrusted, sentences, strict=True):
        get_run_logger().warning("%s", sentence)
        named = {"delivery": record.delivery, "hospital": record.hospital, "bundle": record.bundle}
        tell("bcd.drift", f"bcd.hospital.{record.hospital}", sentence, level=record.level, **named)
    _warn_of_drift("drift", sentences, "Warning: deliveries that are not to be relied on")


def warn_of_patients(scores: Sequence[PatientScore]) -> None:
    """Warns of patients whose own slides are not to be relied on."""
    sentences = [
        f"{each.hospital}/{each.patient}: {' '.join(each.drift.state.reasons)}"
        for each in scores
        if each.drift.state.colour == "red"
    ]
    if sentences:
        _warn_of_drift("drift-patients", sentences, "Warning: patients whose scores are not to be relied on")


def _warn_of_drift(key: str, sentences: Sequence[str], description: str) -> None:
    lines = ["**Warning: not to be relied on.**", *(f"- {sentence}" for sentence in sentences)]
    publish_markdown(key, "\n".join(lines), description)
