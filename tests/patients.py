"""Made-up patients: the table of their patches, and the patches in a store or in a frozen snapshot."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcd.patches import CANONICAL, BatchId, Hospital
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, write_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.batches import BatchIndex, write_batch
from bcd.store.deliveries import Delivery, RefusedFile, Settlement, record_delivery
from bcd.store.spool import open_store_spool
from bcd.store.store import Store


def list_patches(
    patients: Iterable[str] | Mapping[str, str],
    labels: Sequence[int | None],
    *,
    hospital: str = "east",
    slide: str = "5",
) -> pd.DataFrame:
    """Gives each patient a patch for each label, side by side on one slide.

    Args:
        patients: Their names; or the split of each by its name, which makes a column `split`.
        labels: 1, 0 or None, the same for every patient.
        hospital: Where they come from.
        slide: What the slide is called.
    """
    rows = [
        {"hospital": hospital, "patient": patient, "slide": slide, "x": 1 + 50 * column, "y": 51, "label": label}
        | ({"split": patients[patient]} if isinstance(patients, Mapping) else {})
        for patient in patients
        for column, label in enumerate(labels)
    ]
    return pd.DataFrame(rows).astype({"label": "Int8"})


def list_batch(patches: pd.DataFrame) -> pd.DataFrame:
    """Returns patches as the index of a batch lists them, each with the number that it had as its index."""
    hashes = [_hash(*patch) for patch in patches[CANONICAL].itertuples(index=False)]
    return patches.assign(sha256=hashes, pixel_sha256=hashes, flags="").sort_values(CANONICAL)


def store_patches(
    store: Store,
    patches: pd.DataFrame,
    pixels: NDArray[np.uint8],
    *,
    name: str = "",
    refusals: Sequence[RefusedFile] = (),
) -> BatchId:
    """Enters patches of one hospital as admission leaves them: a batch, and the record of its delivery.

    Args:
        store: Where to.
        patches: Those of `list_patches`, in any order.
        pixels: Theirs, row by row.
        name: Of the delivery, and its id; empty: it is called delivery.zip, and its id is that of the batch.
        refusals: The files that were refused.
    """
    index = list_batch(patches)
    rows, index = index.index.to_numpy(), index.reset_index(drop=True)
    listed = BatchIndex.of(index)
    with open_store_spool(store.settings) as spool:
        spool.append(pixels)
        batch = write_batch(store.settings, listed, spool, rows)
    record = Delivery(
        id=name or batch,
        hospital=Hospital(index["hospital"].iloc[0]),
        name=name or "delivery.zip",
        batch=batch,
        files=len(index) + len(refusals),
        admitted_files=len(index),
        admitted=len(index),
        refused=dict(Counter(refusal.rule for refusal in refusals)),
        ignored=0,
        patients=index["patient"].nunique(),
        positive=int((index["label"] == 1).sum()),
        unlabelled=int(index["label"].isna().sum()),
        flags={},
    )
    record_delivery(store, Settlement(record, listed, refusals))
    return batch


def freeze_patches(
    settings: Settings, patches: pd.DataFrame, pixels: NDArray[np.uint8], batch: str = "b"
) -> Snapshot:
    """Writes patches with their splits as a batch of that name and as a snapshot, without a catalog.

    Args:
        settings: Where to.
        patches: Those of `list_patches`, of patients with a split, each with a label.
        pixels: Theirs, row by row.
        batch: The name; patches of two batches have no pixels in common.
    """
    folder = settings.batches / batch
    folder.mkdir(parents=True)
    np.save(folder / "pixels.npy", pixels)
    return write_snapshot(settings, SplitOptions(), in_snapshot(patches, batch), {})


def in_snapshot(patches: pd.DataFrame, batch: str = "b") -> pd.DataFrame:
    """Returns patches with their splits as a snapshot lists them: row i is row i of the batch."""
    hashes = [_hash(batch, row) for row in range(len(patches))]
    return patches.astype({"label": "int8"}).assign(batch=batch, row=range(len(patches)), pixel_sha256=hashes)


def _hash(*named: object) -> str:
    """Returns the hash of pixels that nobody else has."""
    return hashlib.sha256(repr(named).encode()).hexdigest()
