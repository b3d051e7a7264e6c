"""The real patches that searches are compared on: a few of each patient, in four groups of patients.

Three groups are the folds that a search learns from and compares on in turn; the last is held out of every search.
Patients are dealt by all of their patches; taken are those of the natural sample, as many of each patient as are
asked for and the same ones every time. A patient belongs to one delivery, so that what a hospital had after its first
so many deliveries is a part of the same patches.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from released_training import PLACE, admit_deliveries, read_natural

from bcd.evaluation.folds import deal_evaluation_folds
from bcd.patches import patient_keys
from bcd.snapshots.freeze import preview_snapshot, write_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.store import open_store

if TYPE_CHECKING:
    import pandas as pd

    from bcd.settings import Settings
    from bcd.snapshots.freeze import Snapshot

DATA = Path(__file__).parents[2] / "shared/data"
FOLDS = 3
HELD_OUT = FOLDS  # the last of the groups that patients are dealt to
SEARCHED, JUDGED = 16, 40  # patches of a patient, at most: of one whom a search may see, of one held out


def choose_patches(settings: Settings, data: Path, natural: Path, *, searched: int = SEARCHED) -> pd.DataFrame:
    """Admits the deliveries of a folder and returns the patches of everybody that are used.

    Args:
        settings: Where they are admitted to.
        data: Folder of the deliveries.
        natural: List of the natural sample.
        searched: Patches of a patient whom a search may see, at most.

    Returns:
        Columns of `Snapshot.patches`, `group` (a fold, or HELD_OUT) and `delivery` (counted from 1).
    """
    with open_store(settings) as store:
        deliveries = admit_deliveries(store, data)
        everybody = preview_snapshot(store)
    keys = patient_keys(everybody)
    group = deal_evaluation_folds(keys.to_numpy(dtype=object), FOLDS + 1)
    shuffled = everybody.index.to_series().sample(frac=1, random_state=1)
    place = shuffled.groupby(keys.loc[shuffled.index]).cumcount().sort_index().to_numpy()
    listed = read_natural(natural)[PLACE].drop_duplicates()
    is_natural = everybody[PLACE].merge(listed, on=PLACE, how="left", indicator=True)["_merge"] == "both"
    number = {batch: number for number, batch in enumerate(deliveries, 1)}
    marked = everybody.assign(group=group, delivery=everybody["batch"].map(number).astype(int))
    used = is_natural.to_numpy() & (place < np.where(group == HELD_OUT, JUDGED, searched))
    chosen: pd.DataFrame = marked[used].reset_index(drop=True)
    return chosen


def freeze_patches(settings: Settings, patches: pd.DataFrame, *, val: int = 0) -> Snapshot:
    """Freezes chosen patches as a snapshot: one fold is val, who is held out is test, and the others are train."""
    split = np.where(patches["group"] == HELD_OUT, "test", np.where(patches["group"] == val, "val", "train"))
    rows = patches.drop(columns=["group", "delivery"]).assign(split=split)
    return write_snapshot(settings, SplitOptions(), rows, {})
