"""The snapshot as it is held in memory; `bcd.snapshots.freeze` freezes and opens it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bcd.patches import Slide, SnapshotId, patient_keys
from bcd.snapshots.rows import LeftOut
from bcd.snapshots.splits import SPLITS

if TYPE_CHECKING:
    import pandas as pd

Counts = dict[str, dict[str, int]]
"""For each group, how many `patients`, `patches` and `positive`."""


def count_snapshot_by(patches: pd.DataFrame, by: str | pd.Series[str]) -> pd.DataFrame:
    """Returns patients, patches and positive for each value of a column, or of a series beside the patches."""
    keys = patient_keys(patches)
    grouped = patches[["label"]].assign(key=keys.factorize()[0]).groupby(patches[by] if isinstance(by, str) else by)
    counts = grouped.agg(patients=("key", "nunique"), patches=("key", "size"), positive=("label", "sum"))
    return counts.astype("int64")


@dataclass(frozen=True)
class Snapshot:
    """A frozen list of labelled patches.

    Attributes:
        id: Content hash of protocol and rows.
        protocol: The protocol that dealt the splits, as `SplitOptions.recorded_as` names it.
        patches: Columns hospital, patient, slide, x, y, label (int8), split, batch, row, pixel_sha256, in
            canonical order (hospital, patient, slide, y, x).
        options: The options of splits that it was frozen with; empty where that is not known.
        left_out: For each reason, how many `patients` and `patches` were left out.
        complete: Slides (hospital, patient, slide) of which every patch with tissue was handed over.
    """

    id: SnapshotId
    protocol: str
    patches: pd.DataFrame
    options: dict[str, str | float] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=dict)
    complete: frozenset[Slide] = frozenset()

    def of(self, split: str) -> pd.DataFrame:
        """Returns the patches of one split, with the index of `patches`."""
        return self.patches[self.patches["split"] == split]

    def counts(self) -> pd.DataFrame:
        """Returns patients, patches and positive for each of the four splits, in their order."""
        return count_snapshot_by(self.patches, "split").reindex(list(SPLITS), fill_value=0).astype("int64")

    @property
    def batches(self) -> list[str]:
        """Ids of the batches that the patches lie in, sorted."""
        return sorted(self.patches["batch"].unique())
