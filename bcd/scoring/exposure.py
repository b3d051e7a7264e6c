"""What a bundle knew of a patient before it scored them: the split, and what that does to the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bcd.errors import BcdError

if TYPE_CHECKING:
    from bcd.patches import Hospital, PatientId
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


def find_exposure(store: Store, record: Any, *, hospital: Hospital, patient: PatientId, protocol: str) -> Exposure:
    """Says what a bundle knew of a patient.

    A patient who was dealt to train only after the bundle's snapshot was frozen is unseen by that bundle, so
    the snapshot has the last word; where it is gone, the split has.

    Args:
        store: Knows the splits.
        record: The record of the bundle that scores, with `snapshot`.
        hospital: The patient's hospital.
        patient: The patient.
        protocol: The protocol under which splits were dealt.
    """
    from bcd.snapshots.freeze import split_in_snapshot
    from bcd.snapshots.splits import split_of

    split = split_of(store, protocol, hospital, patient)
    try:
        frozen = split_in_snapshot(store.settings, record.snapshot, hospital, patient)
    except BcdError:
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
