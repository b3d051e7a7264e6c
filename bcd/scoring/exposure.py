"""What a bundle knew of a patient before it scored them: the split, and what that does to the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bcd.errors import DamagedError, NotFoundError
from bcd.patches import PERSON

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bcd.patches import Hospital, PatientId
    from bcd.scoring.bundle import ScoringBundle, ScoringRecord, SeenPatients
    from bcd.store.store import Store

_STATEMENTS: dict[str | None, str] = {
    "train": "The model was trained on this patient, so these scores flatter it.",
    "val": "The model was not trained on this patient, but early stopping, calibration and thresholds were "
    "chosen on val patients, this one among them, so these scores flatter it a little.",
    "gate": "The model was not trained on this patient, but the gate decided on it by gate patients, this one "
    "among them.",
    "test": "Never seen in training, and nothing was chosen on this patient.",
    "excluded": "Never seen by the model: the protocol keeps this patient out.",
    None: "Never seen by the model: the patient has no label yet, or was not dealt to a split.",
}

_UNSEEN = {"test", "excluded", None}

ENOUGH = 10
"""Labelled patients of a hospital on which a model from elsewhere counts as evaluated there."""


@dataclass(frozen=True)
class Exposure:
    """What a bundle knew of a patient.

    Attributes:
        split: The patient's split under the protocol; None where none was dealt.
        unseen: Whether the patient had no part in training, calibration or promotion.
        statement: The same as a sentence for the report.
    """

    split: str | None
    unseen: bool
    statement: str


def tell_exposure_of_scored(seen: SeenPatients, patches: pd.DataFrame, pixels: NDArray[np.uint8]) -> Exposure:
    """Says what a bundle that came from elsewhere knew of a patient.

    Args:
        seen: Who it was trained on.
        patches: hospital and patient of the patient's patches.
        pixels: Their pixels, (n, 50, 50, 3).
    """
    from bcd.admission.findings import as_hex
    from bcd.admission.pixels import hash_delivered_pixels

    hashed = patches[PERSON].assign(pixel_sha256=as_hex(hash_delivered_pixels(pixels)).to_numpy())
    if seen.find(hashed):
        same = int(seen.find_pixels(hashed).sum())
        how = f": {same:,} of the {len(hashed):,} patches are among those that it learned from" if same else ""
        return Exposure("train", False, f"The model was trained on this patient, so these scores flatter it{how}.")
    statement = "Never seen by the model: no patch has the pixels of one that it learned from."
    if seen.knows_name(str(patches["patient"].iloc[0])):
        statement += " One of its training patients, of another hospital, has the same identifier."
    return Exposure(None, True, statement)


def list_doubts(store: Store, bundle: ScoringBundle, hospital: Hospital) -> list[str]:
    """Says that a bundle from elsewhere was not evaluated on a hospital's patients, until `ENOUGH` labelled ones are.

    They are the gate patients of that hospital at the looks since the bundle was adopted, without those whom it was
    trained on, who are left out there.
    """
    from bcd.snapshots.freeze import load_snapshot
    from bcd.store.decisions import LOOKS, list_stored_decisions

    if bundle.record.origin != "released":
        return []
    version = bundle.name.rpartition("/")[2]
    evaluated, looks = 0, list[str]()
    for one in list_stored_decisions(store):
        if one.kind == "adopted" and one.challenger == version:
            looks = []  # what was decided earlier was about another registry's version of this number
        elif one.kind in LOOKS and version in {one.challenger, one.champion}:
            looks.append(one.snapshot)
    for snapshot in dict.fromkeys(reversed(looks)):
        try:
            gate = load_snapshot(store.settings, snapshot).of("gate")
        except (NotFoundError, DamagedError):  # pruned since
            continue
        mine = gate[gate["hospital"] == hospital]
        seen = [] if bundle.seen is None else bundle.seen.find(mine)
        evaluated = max(evaluated, mine["patient"].nunique() - len(seen))
        if evaluated >= ENOUGH:
            return []
    return [tell_unproven_hospital(evaluated)]


def tell_unproven_hospital(evaluated: int = 0) -> str:
    """Says that a bundle was not evaluated on a hospital's patients, and on how many labelled ones it was."""
    so_far = f": {evaluated} labelled of the {ENOUGH} that it takes" if evaluated else ""
    return f"The model was not evaluated on this hospital's patients{so_far}."


def find_scored_exposure(
    store: Store, record: ScoringRecord, *, hospital: Hospital, patient: PatientId, protocol: str
) -> Exposure:
    """Says what a bundle knew of a patient.

    A patient who was dealt to train only after the bundle's snapshot was frozen is unseen by that bundle, so
    the snapshot has the last word; where it is gone, the split has.

    Args:
        store: Knows the splits.
        record: The record of the bundle that scores.
        hospital: The patient's hospital.
        patient: The patient.
        protocol: The protocol under which splits were dealt.
    """
    from bcd.snapshots.freeze import split_in_snapshot
    from bcd.snapshots.splits import split_of

    split = split_of(store, protocol, hospital, patient)
    try:
        frozen = split_in_snapshot(store.settings, record.snapshot, hospital, patient)
    except (NotFoundError, DamagedError):
        return Exposure(split, split in _UNSEEN, _STATEMENTS[split])
    if frozen is not None:
        split = frozen
    elif split not in _UNSEEN:
        return Exposure(
            split,
            True,
            f"Never seen by the model: dealt to {split} after the snapshot that it was trained on.",
        )
    return Exposure(split, split in _UNSEEN, _STATEMENTS[split])
