"""Snapshots: frozen lists of labelled patches with their split; what a model is trained on and judged by.

A snapshot is a folder, `patches.parquet` and `manifest.json`, named by a hash of its rows: freezing twice
what has not changed gives the same snapshot and writes nothing.

Example:
    >>> snapshot = freeze_snapshot(settings, catalog, SplitOptions())  # doctest: +SKIP
    >>> snapshot.of("val")["label"].mean()  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.files import whole_folder
from bcd.patches import SnapshotId
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.batches import CANONICAL, hash_rows
from bcd.store.catalog import Catalog
from bcd.store.labels import latest_labels
from bcd.store.options import SplitOptions
from bcd.store.splits import SPLITS, deal_splits

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["hospital", "patient", "slide", "x", "y", "label", "split", "batch", "row", "pixel_sha256"]


@dataclass(frozen=True)
class Snapshot:
    """A frozen list of labelled patches.

    Attributes:
        id: Content hash of protocol and rows.
        protocol: The protocol that dealt the splits.
        patches: Columns hospital, patient, slide, x, y, label (int8), split, batch, row, pixel_sha256, in
            canonical order (hospital, patient, slide, y, x).
    """

    id: SnapshotId
    protocol: str
    patches: pd.DataFrame

    def of(self, split: str) -> pd.DataFrame:
        """Returns the patches of one split, with the index of `patches`."""
        return self.patches[self.patches["split"] == split]

    def counts(self) -> pd.DataFrame:
        """Returns patients, patches and positive for each of the four splits, in their order."""
        keys = patient_keys(self.patches)
        grouped = self.patches.assign(key=keys).groupby("split")
        counts = grouped.agg(patients=("key", "nunique"), patches=("key", "size"), positive=("label", "sum"))
        return counts.reindex(list(SPLITS), fill_value=0).astype("int64")

    @property
    def batches(self) -> list[str]:
        """Ids of the batches that the patches lie in, sorted."""
        return sorted(self.patches["batch"].unique())


def patient_keys(patches: pd.DataFrame) -> pd.Series[str]:
    """Returns "hospital/patient" for each patch."""
    return patches["hospital"].astype(str) + "/" + patches["patient"].astype(str)


def freeze_snapshot(settings: Settings, catalog: Catalog, options: SplitOptions) -> Snapshot:
    """Freezes the labelled patches as they stand; deals the splits of new patients first.

    Raises:
        BcdError: There is no labelled patch.
    """
    deal_splits(catalog, options)
    patches = _labelled_patches(catalog, options.protocol)
    if patches.empty:
        raise BcdError(
            "There is nothing to train on: no admitted patch has a label"
            f" and a split under protocol {options.protocol}.",
            "Admit a delivery whose names end in _class0.png and _class1.png.",
        )
    rows = hash_rows(patches, [*CANONICAL, "label", "split", "pixel_sha256"])
    identity = SnapshotId(hashlib.sha256(f"{options.protocol}\n{rows}".encode()).hexdigest())
    snapshot = Snapshot(identity, options.protocol, patches)
    folder = settings.snapshots / identity
    if not folder.exists():
        with whole_folder(folder) as partial:
            patches.to_parquet(partial / "patches.parquet", index=False)
            (partial / "manifest.json").write_text(json.dumps(_manifest(snapshot), indent=2) + "\n", "utf-8")
    return snapshot


def load_snapshot(settings: Settings, snapshot_id: str) -> Snapshot:
    """Reads a snapshot by its id or by a beginning of it that no other snapshot shares.

    Raises:
        BcdError: No snapshot, or more than one, begins so.
    """
    import pandas as pd

    known = sorted(path.name for path in settings.snapshots.glob("[0-9a-f]*"))
    found = [name for name in known if snapshot_id and name.startswith(snapshot_id)]
    if len(found) != 1:
        several = f"{len(found)} snapshots begin with {snapshot_id!r}" if found else f"no snapshot {snapshot_id!r}"
        shown = ", ".join(name[:12] for name in found or known[:5]) or "none so far"
        raise BcdError(f"There are {several}." if found else f"There is {several}.", f"Known ones: {shown}.")
    folder = settings.snapshots / found[0]
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    patches = pd.read_parquet(folder / "patches.parquet")
    return Snapshot(SnapshotId(manifest["id"]), manifest["protocol"], patches)


def _labelled_patches(catalog: Catalog, protocol: str) -> pd.DataFrame:
    import pandas as pd

    labels = latest_labels().subquery()
    dealt = tables.splits.c
    query = (
        sa.select(
            *(labels.c[name] for name in COLUMNS[:6]),
            dealt.split,
            tables.batches.c.id.label("batch"),
            labels.c.row,
            labels.c.pixel_sha256,
        )
        .join(tables.batches, tables.batches.c.number == labels.c.batch)
        .join(
            tables.splits,
            sa.and_(dealt.hospital == labels.c.hospital, dealt.patient == labels.c.patient),
        )
        .where(dealt.protocol == protocol, dealt.split.in_(SPLITS), labels.c.label.is_not(None))
    )
    with catalog.engine.connect() as connection:
        patches = pd.DataFrame(connection.execute(query).all(), columns=COLUMNS)
    # Sorted here, not in SQL: databases differ in how they order text, and identities depend on it.
    patches = patches.sort_values(CANONICAL, ignore_index=True)
    return patches.astype({"label": "int8", "x": "int64", "y": "int64", "row": "int64"})


def _manifest(snapshot: Snapshot) -> dict[str, object]:
    return {
        "id": snapshot.id,
        "protocol": snapshot.protocol,
        "batches": snapshot.batches,
        "counts": snapshot.counts().to_dict(orient="index"),
    }
