"""A snapshot's manifest: how it was frozen, what it counts, and what was left out, in `manifest.json`.

It says nothing of when or where: the same catalog content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from bcd.errors import DamagedError
from bcd.patches import Slide, SnapshotId, patient_keys
from bcd.settings import Settings
from bcd.snapshots.options import SplitOptions
from bcd.snapshots.rows import LeftOut
from bcd.snapshots.snapshot import Counts, Snapshot, count_snapshot_by
from bcd.snapshots.splits import SPLITS, split_shares
from bcd.store.objects import list_stored, read_stored

if TYPE_CHECKING:
    import pandas as pd

NAME = "manifest.json"

_FROZEN = "frozen.json"
"""When the snapshot was frozen: apart from the manifest, so that two freezings of the same are the same manifest."""


class SnapshotManifest(BaseModel):
    """What `manifest.json` says.

    Attributes:
        id: The snapshot's content hash.
        protocol: The protocol that dealt the splits, as `SplitOptions.recorded_as` names it.
        options: The options that dealt them; of the key, its fingerprint.
        patches_sha256: Hash of `patches.parquet`.
        batches: Ids of the batches that the patches lie in, sorted.
        counts: By split.
        by_class: By label.
        by_hospital: By hospital.
        by_batch: By the batch's id.
        by_patient: By "hospital/patient".
        left_out: What was left out, by reason.
        complete: Hospital, patient and slide of the complete slides, sorted.
    """

    model_config = ConfigDict(frozen=True)

    id: SnapshotId
    protocol: str
    options: dict[str, str | float]
    patches_sha256: str
    batches: list[str]
    counts: Counts
    by_class: Counts
    by_hospital: Counts
    by_batch: Counts
    by_patient: Counts
    left_out: LeftOut
    complete: list[Slide]


@dataclass(frozen=True)
class SnapshotSummary:
    """A snapshot in a list.

    Attributes:
        id: Its content hash.
        protocol: The protocol that dealt the splits.
        frozen_at: When it was frozen, in UTC.
        patients: Number of patients.
        patches: Number of patches.
        positive: Number of patches labelled 1.
        batches: Number of batches that they lie in.
    """

    id: SnapshotId
    protocol: str
    frozen_at: datetime
    patients: int
    patches: int
    positive: int
    batches: int


def make_manifest(snapshot: Snapshot, options: SplitOptions, *, patches_sha256: str) -> SnapshotManifest:
    """Counts a snapshot's patches and writes down how it was frozen."""
    patches = snapshot.patches
    by_split = count_snapshot_by(patches, "split").reindex(list(SPLITS), fill_value=0)
    return SnapshotManifest(
        id=snapshot.id,
        protocol=options.recorded_as,
        options=_describe_split_options(options),
        patches_sha256=patches_sha256,
        batches=sorted(patches["batch"].unique()),
        counts=_as_counts(by_split),
        by_class=_as_counts(count_snapshot_by(patches, "label")),
        by_hospital=_as_counts(count_snapshot_by(patches, "hospital")),
        by_batch=_as_counts(count_snapshot_by(patches, "batch")),
        by_patient=_as_counts(count_snapshot_by(patches, patient_keys(patches))),
        left_out=snapshot.left_out,
        complete=sorted(snapshot.complete),
    )


def read_manifest(settings: Settings, folder: Path) -> SnapshotManifest:
    """Reads the manifest of a snapshot's folder, which need not be here.

    Raises:
        BcdError: It is missing or damaged.
    """
    try:
        return SnapshotManifest.model_validate_json(read_stored(settings, folder, NAME))
    except (OSError, ValidationError) as error:
        raise DamagedError(
            f"The manifest of snapshot {folder.name[:12]} is missing or damaged: {folder / NAME}.",
            "Restore the folder from a backup, or remove it and freeze again:"
            " the same catalog gives the same snapshot.",
        ) from error


def write_frozen_date(folder: Path) -> None:
    """Notes in a new snapshot's folder that it is frozen now."""
    (folder / _FROZEN).write_text(json.dumps({"frozen_at": datetime.now(UTC).isoformat()}), "utf-8")


def read_frozen_date(settings: Settings, folder: Path) -> datetime:
    """Reads when the snapshot of a folder, which need not be here, was frozen, in UTC.

    Raises:
        BcdError: The date is missing or damaged.
    """
    try:
        return datetime.fromisoformat(json.loads(read_stored(settings, folder, _FROZEN))["frozen_at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"The date of snapshot {folder.name[:12]} is missing or damaged: {folder / _FROZEN}.",
            "Restore the folder from a backup, or remove it and freeze again:"
            " the same catalog gives the same snapshot.",
        ) from error


def list_snapshots(settings: Settings) -> list[SnapshotSummary]:
    """Lists the snapshots, in the order in which they were frozen, from their manifests alone.

    Raises:
        BcdError: A manifest is missing or damaged.
    """
    found = [_summarise_manifest(settings, folder) for folder in list_snapshot_folders(settings)]
    return sorted(found, key=lambda each: (each.frozen_at, each.id))


def list_snapshot_folders(settings: Settings) -> list[Path]:
    """Returns where the snapshots lie, here or in the store, sorted."""
    return list_stored(settings, settings.snapshots, "[0-9a-f]*")


def _summarise_manifest(settings: Settings, folder: Path) -> SnapshotSummary:
    manifest = read_manifest(settings, folder)

    def total(figure: str) -> int:
        return sum(counts[figure] for counts in manifest.counts.values())

    return SnapshotSummary(
        id=manifest.id,
        protocol=manifest.protocol,
        frozen_at=read_frozen_date(settings, folder),
        patients=total("patients"),  # a patient lies in one split only
        patches=total("patches"),
        positive=total("positive"),
        batches=len(manifest.batches),
    )


def _describe_split_options(options: SplitOptions) -> dict[str, str | float]:
    key = hashlib.sha256(options.key.encode()).hexdigest()[:12]
    return {"protocol": options.recorded_as, **split_shares(options), "key_fingerprint": key}


def _as_counts(counts: pd.DataFrame) -> Counts:
    return {
        str(group): {str(name): int(figure) for name, figure in row.items()}
        for group, row in counts.to_dict(orient="index").items()
    }
