"""The patients that `bcd evaluate` evaluates a model on: of a snapshot under a protocol, of a file, or of a delivery.

A protocol of evaluation says on which patients, and at which prevalence:

- natural: the test split of a snapshot, as it is.
- founding: the same patients, the classes weighted to 50:50 as the founding work thinned its test to.
- cruz-roa-2014: the 49 published test patients; cruz-roa-2014-dev: the published val patients.

Whoever is chosen, a registered model that trained or was calibrated on one of them, or on their pixels, is refused.
Nobody is dealt to a split and no snapshot is frozen: only retraining does that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError, InsufficientEvidenceError
from bcd.settings import Settings
from bcd.snapshots.freeze import load_snapshot, preview_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.snapshots.splits import published_list
from bcd.validation.model import EvaluatedModel

if TYPE_CHECKING:
    import pandas as pd

    from bcd.store.store import Store

EvaluationProtocol = Literal["natural", "founding", "cruz-roa-2014", "cruz-roa-2014-dev"]

PROTOCOLS: tuple[EvaluationProtocol, ...] = get_args(EvaluationProtocol)

_LISTS = {"cruz-roa-2014": "test", "cruz-roa-2014-dev": "val"}


@dataclass(frozen=True)
class EvaluationSample:
    """Patches that a model is evaluated on.

    Attributes:
        patches: The patches' columns of a snapshot: what names and labels them, and where their pixels lie.
        title: Whose they are.
        split: What they are called: their split, or `given`.
        snapshot: Id of the snapshot; empty: none.
        notes: What a reader must know.
    """

    patches: pd.DataFrame
    title: str
    split: str = "test"
    snapshot: str = ""
    notes: list[str] = field(default_factory=list)


def choose_validated_patients(
    store: Store, protocol: EvaluationProtocol, snapshot: str, model: EvaluatedModel
) -> EvaluationSample:
    """Chooses the patients of a protocol; deals nobody and freezes nothing.

    Args:
        store: What is admitted, where no snapshot is named and the model has none that fits.
        protocol: On whose patients.
        snapshot: Id of a snapshot, or its beginning; empty: the one that the model was trained on, or, for a
            published list and for a file of a network, all that is admitted.
        model: Who is evaluated.

    Raises:
        BcdError: The model has seen a patient, or there is no such snapshot.
        InsufficientEvidenceError: None of the patients is there.
    """
    listed = protocol in _LISTS
    bundle = model.bundle if model.bundle is not None and model.bundle.seen is None else None  # made in this home
    identity = snapshot or ("" if listed or bundle is None else bundle.record.snapshot)
    if identity:
        opened = load_snapshot(store.settings, identity)
        patches, identity = opened.patches, opened.id
        of = f"snapshot {opened.id[:12]} ({opened.protocol})"
    else:
        dealt_by = "" if listed else store.settings.options("splits", SplitOptions).recorded_as
        patches = preview_snapshot(store, dealt_by)
        of = f"all that is admitted{f', dealt by {dealt_by}' if dealt_by else ''}"
    if listed:
        patches = patches[select_validated_patients(patches, protocol)].assign(split="test")
        whose = f"Published {_LISTS[protocol]} patients"
    else:
        patches = patches[patches["split"] == "test"]
        whose = "Test patients"
    if patches.empty:
        raise InsufficientEvidenceError(
            f"There is no test patient in {of}.",
            "Admit more labelled patients and retrain, which deals them to splits, or name another snapshot.",
        )
    require_unseen_by_validated(store.settings, model, patches)
    return EvaluationSample(
        patches.reset_index(drop=True), f"{whose} of {of}, protocol {protocol}", snapshot=identity
    )


def select_validated_patients(patches: pd.DataFrame, protocol: str) -> NDArray[np.bool_]:
    """Tells which patches are of the patients that a protocol's published list names; without a list, all are.

    Raises:
        InsufficientEvidenceError: None is.
    """
    if protocol not in _LISTS:
        return np.ones(len(patches), dtype=bool)
    published = published_list(_LISTS[protocol])
    chosen = patches["patient"].isin(list(published)).to_numpy(dtype=bool)
    if not chosen.any():
        raise InsufficientEvidenceError(
            f"None of the {len(published)} published {_LISTS[protocol]} patients is here, whom {protocol} names.",
            "Admit their deliveries, or choose another protocol.",
        )
    return chosen


def note_patients_not_validated(patches: pd.DataFrame, protocol: str) -> list[str]:
    """Says how many patients of a protocol's published list are not among those evaluated; nothing where all are."""
    if protocol not in _LISTS:
        return []
    published = set(published_list(_LISTS[protocol]))
    here = len(published & set(patches["patient"]))
    if here == len(published):
        return []
    return [
        f"{here} of the {len(published)} published {_LISTS[protocol]} patients are here; the others are left out."
    ]


def require_unseen_by_validated(settings: Settings, model: EvaluatedModel, patches: pd.DataFrame) -> None:
    """Refuses a registered model that has trained or was calibrated on a patient, or on pixels, in the sample.

    Args:
        settings: Where snapshots lie.
        model: The model in question; of a file nothing is known, which its note says.
        patches: hospital, patient and pixel_sha256 of what it is to be evaluated on.

    Raises:
        BcdError: It did, naming whom, or its snapshot is not here.
    """
    if model.bundle is None:
        return
    from bcd.bundle.seen import assert_unseen_by_bundle

    assert_unseen_by_bundle(settings, model.bundle, patches)


def find_validated_patches(store: pd.DataFrame, wanted: pd.DataFrame, given: frozenset[str]) -> pd.DataFrame:
    """Finds admitted patches by their name.

    Args:
        store: The admitted patches.
        wanted: hospital, patient, slide, x, y and label of each patch.
        given: Which of hospital and slide tell patches apart; without them patient, x and y must suffice.

    Returns:
        The columns of a snapshot's patches, and `row_wanted`, the row of `wanted`; fewer than were wanted where the
        store does not hold them all.

    Raises:
        BcdError: Two admitted patches fit, or a label differs from the store's.
    """
    key = ["patient", "x", "y", *sorted(given)]
    numbered = wanted[[*key, "label"]].assign(row_wanted=np.arange(len(wanted)))
    found = store.merge(numbered, on=key, suffixes=("", "_wanted"))
    twice = found[found["row_wanted"].duplicated()]
    if len(twice):
        one = twice.iloc[0]
        raise BcdError(
            f"Patient {one['patient']}, x {one['x']}, y {one['y']} is admitted of more than one hospital or slide.",
            "Add the columns hospital and slide to the file.",
        )
    other = found[found["label"] != found["label_wanted"]]
    if len(other):
        one = other.iloc[0]
        raise BcdError(
            f"{len(other):,} labels differ from the store's, such as that of patient {one['patient']}, x {one['x']}, "
            f"y {one['y']}: {one['label_wanted']} in the file, {one['label']} in the store.",
            "Find out which is right; `bcd label` corrects the store's.",
        )
    return found.drop(columns="label_wanted").sort_values("row_wanted", ignore_index=True)
