"""A delivery as a whole: its patients together are compared with those whom a bundle knows, and the catalog keeps it.

At admission pictures are compared; once patients are scored, their scores too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bcd.drift.patient import find_stored_drift
from bcd.drift.profiles import MOST_PATCHES, Profile, choose_evenly, profile_pictures
from bcd.drift.state import Drift, Known, assess_delivery, join_drifts
from bcd.patches import BatchId
from bcd.progress import track_progress
from bcd.store.batches import read_batch_index, read_batch_pixels
from bcd.store.delivery_queries import count_batch_by_patient, list_batches
from bcd.store.drift import DriftRecord, list_drift, record_drift
from bcd.store.ledger import list_ledger
from bcd.store.withdrawals import list_withdrawals

if TYPE_CHECKING:
    import pandas as pd

    from bcd.store.deliveries import Delivery
    from bcd.store.store import Store

MOST_DELIVERED = 200
"""Patients of a delivery that are measured, evenly chosen."""


def compare_delivery(store: Store, bundle: str, known: Known | None, delivery: Delivery) -> DriftRecord:
    """Compares a delivery with the patients of a bundle and records what was found.

    Args:
        store: The open store.
        bundle: Name of the bundle, such as `bcd-idc/3`.
        known: The bundle's patients; None where its record holds none.
        delivery: One that brought a batch.
    """
    pictures = _measure(store, delivery) if known is not None else {}
    scores = _find_scores(store, bundle, delivery, pictures) if known is not None else []
    state = assess_delivery(known, delivery.hospital, list(pictures.values()), scores)
    record = DriftRecord(
        delivery=delivery.id,
        hospital=delivery.hospital,
        bundle=bundle,
        stage="scoring" if scores else "admission",
        level=state.level,
        state=state.model_dump(mode="json"),
        at=datetime.now(UTC),
    )
    record_drift(store, record)
    return record


def find_state(store: Store, bundle: str, known: Known | None, batches: Iterable[str]) -> Drift | None:
    """Returns the state of the deliveries that brought some batches, compared now unless they were; None: of none."""
    states = []
    brought = {str(each.batch): each for each in list_batches(store)}
    for batch in dict.fromkeys(batches):
        delivery = brought[batch]
        found = list_drift(store, delivery=delivery.id, bundle=bundle)
        states.append(read_state(found[0] if found else compare_delivery(store, bundle, known, delivery)))
    return join_drifts(states) if states else None


def read_state(record: DriftRecord) -> Drift:
    """Returns what a record of the catalog says."""
    return Drift.model_validate(record.state)


def has_scores(store: Store, bundle: str, delivery: Delivery) -> bool:
    """Whether scores of a delivery's patients are there by now, to be compared too."""
    patients = {each.patient for each in count_batch_by_patient(store, BatchId(str(delivery.batch)))}
    return bool(_find_scores(store, bundle, delivery, patients))


def _measure(store: Store, delivery: Delivery) -> dict[str, Profile]:
    """Measures the pictures of a delivery's patients, by patient, without those who withdrew."""
    patches = _list_patches(store, delivery)
    gone = {one.patient for one in list_withdrawals(store, delivery.hospital)}
    patients = [patient for patient in patches["patient"].unique().tolist() if patient not in gone]
    chosen = [patients[at] for at in choose_evenly(len(patients), MOST_DELIVERED)]
    rows = dict(iter(patches.groupby("patient", sort=False)))
    found = {}
    with track_progress(f"Comparing {delivery.name} with the model's patients", total=len(chosen)) as advance:
        for patient in chosen:
            some = rows[patient].iloc[choose_evenly(len(rows[patient]), MOST_PATCHES)]
            found[str(patient)] = profile_pictures(read_batch_pixels(store.settings, some))
            advance(1)
    return found


def _list_patches(store: Store, delivery: Delivery) -> pd.DataFrame:
    """Lists the patches of a delivery's batch in canonical order: patient, batch, row."""
    index = read_batch_index(store.settings, BatchId(str(delivery.batch)), ["patient"])
    return index.assign(batch=delivery.batch, row=range(len(index)))


def _find_scores(store: Store, bundle: str, delivery: Delivery, patients: Iterable[str]) -> list[Profile]:
    """Finds the scores of patients whom the bundle has scored and was not trained on."""
    folders = {
        entry.patient: entry.folder
        for entry in reversed(list_ledger(store))
        if (entry.hospital, entry.bundle, entry.status) == (delivery.hospital, bundle, "scored")
    }
    wanted = set(patients)
    kept = [
        find_stored_drift(store.settings, store.settings.home / folder)
        for one, folder in folders.items()
        if one in wanted
    ]
    return [one.scores for one in kept if one is not None and one.scores is not None]
