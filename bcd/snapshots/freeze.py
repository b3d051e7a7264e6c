"""Snapshots: frozen lists of labelled patches with their split; what a model is trained on and evaluated on.

A snapshot is a folder, `patches.parquet` and `manifest.json`, named by a hash of its protocol and rows: freezing
twice what has not changed gives the same snapshot and writes nothing, and the same catalog content gives the same
bytes on any database. Opening one reads its list, not the pixels, checks that nobody has changed it, and asserts that
no patient and no pixels lie in two splits.

Examples:
    >>> snapshot = freeze_snapshot(store, SplitOptions())  # doctest: +SKIP
    >>> snapshot.of("val")["label"].mean()  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import DamagedError, InsufficientEvidenceError, NotFoundError
from bcd.files import hash_file, whole_folder
from bcd.formats import format_some
from bcd.patches import CANONICAL, Hospital, PatientId, Slide, SnapshotId
from bcd.settings import Settings
from bcd.snapshots.evidence import assert_no_leakage
from bcd.snapshots.manifest import (
    NAME,
    SnapshotManifest,
    list_snapshot_folders,
    make_manifest,
    read_manifest,
    write_frozen_date,
)
from bcd.snapshots.options import SplitOptions
from bcd.snapshots.rows import LeftOut, count_left_out_of_snapshot, read_complete, read_freezable_rows
from bcd.snapshots.snapshot import Snapshot
from bcd.snapshots.splits import deal_splits_and_record
from bcd.store.batches import hash_rows
from bcd.store.catalog import retry_while_database_away
from bcd.store.objects import in_use, put, require
from bcd.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Snapshot",
    "find_snapshot",
    "freeze_snapshot",
    "load_snapshot",
    "preview_snapshot",
    "snapshot_id",
    "write_snapshot",
]

_PATCHES = "patches.parquet"


def snapshot_id(protocol: str, patches: pd.DataFrame, complete: Iterable[Slide] = ()) -> SnapshotId:
    """Returns the content hash of a snapshot, whose rows are in canonical order, and of its complete slides."""
    rows = hash_rows(patches, [*CANONICAL, "label", "split", "pixel_sha256"])
    lines = [protocol, rows, *("\t".join(slide) for slide in sorted(complete))]
    return SnapshotId(hashlib.sha256("\n".join(lines).encode()).hexdigest())


def freeze_snapshot(store: Store, options: SplitOptions) -> Snapshot:
    """Freezes the labelled patches as they stand; deals the splits of new patients first.

    Withdrawn patients, patches in doubt, and patients whom the protocol keeps out are left out, and counted.

    Raises:
        BcdError: There is no labelled patch, the hospital to hold out has no patient, or the snapshot leaks.
    """
    patches, left_out, complete = retry_while_database_away(lambda: _deal_and_read(store, options))
    if patches.empty:
        raise InsufficientEvidenceError(
            "There is nothing to train on: no admitted patch has a label"
            f" and a split under protocol {options.recorded_as}.",
            "Admit a delivery whose names end in _class0.png and _class1.png.",
        )
    return write_snapshot(store.settings, options, patches, left_out, complete)


def _deal_and_read(store: Store, options: SplitOptions) -> tuple[pd.DataFrame, LeftOut, frozenset[Slide]]:
    # One transaction that writes: nothing is admitted between the dealing and the reading.
    with store.write() as connection:
        deal_splits_and_record(connection, options)
        protocol = options.recorded_as
        patches = read_freezable_rows(connection, protocol)
        return patches, count_left_out_of_snapshot(connection, protocol), read_complete(connection, patches)


def preview_snapshot(store: Store, protocol: str = "") -> pd.DataFrame:
    """Reads what a snapshot would take now; deals nobody and writes nothing.

    Args:
        store: The open store.
        protocol: As `SplitOptions.recorded_as` names it; empty: no protocol keeps anybody out.

    Returns:
        `Snapshot.patches`; split is missing where a patient is not dealt under the protocol.
    """
    with store.read() as connection:
        return read_freezable_rows(connection, protocol)


def write_snapshot(
    settings: Settings,
    options: SplitOptions,
    patches: pd.DataFrame,
    left_out: LeftOut,
    complete: frozenset[Slide] = frozenset(),
) -> Snapshot:
    """Writes a snapshot whole, unless it exists, and opens it.

    Args:
        settings: Where snapshots lie.
        options: The options that dealt the splits.
        patches: What `Snapshot.patches` is to be.
        left_out: What `Snapshot.left_out` is to be.
        complete: What `Snapshot.complete` is to be.

    Raises:
        BcdError: The snapshot leaks.
    """
    protocol = options.recorded_as
    identity = snapshot_id(protocol, patches, complete)
    snapshot = Snapshot(identity, protocol, patches, left_out=left_out, complete=complete)
    assert_no_leakage(snapshot)
    folder = require(settings, settings.snapshots / snapshot.id)
    if not folder.exists():
        with whole_folder(folder) as partial:
            _write_patches(patches, partial / _PATCHES)
            manifest = make_manifest(snapshot, options, patches_sha256=hash_file(partial / _PATCHES))
            (partial / NAME).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
            write_frozen_date(partial)
    put(settings, folder)
    return _open_frozen(settings, folder)


def load_snapshot(settings: Settings, identity: str) -> Snapshot:
    """Opens a snapshot by its id or by a beginning of it that no other snapshot shares.

    Its list is read and checked; the pixels stay where they are until `read_batch_pixels` maps them.

    Raises:
        BcdError: No snapshot, or more than one, begins so; it was damaged or edited; or it leaks.
    """
    snapshot = _open_frozen(settings, find_snapshot(settings, identity))
    assert_no_leakage(snapshot)
    return snapshot


def split_in_snapshot(settings: Settings, identity: str, hospital: Hospital, patient: PatientId) -> str | None:
    """Returns a patient's split in a snapshot, None where it does not hold the patient; reads no other patient.

    Raises:
        BcdError: No snapshot, or more than one, begins so.
    """
    import pandas as pd

    wanted = [("hospital", "==", hospital), ("patient", "==", patient)]
    with in_use(settings, find_snapshot(settings, identity)) as folder:
        splits = pd.read_parquet(folder / _PATCHES, columns=["split"], filters=wanted)["split"]
    return str(splits.iloc[0]) if len(splits) else None


def find_snapshot(settings: Settings, identity: str) -> Path:
    """Returns where a snapshot lies, here or in the store, named by its id or by a beginning of it.

    Raises:
        BcdError: No snapshot, or more than one, begins so.
    """
    known = [path.name for path in list_snapshot_folders(settings)]
    found = [name for name in known if identity and name.startswith(identity)]
    if len(found) != 1:
        several = f"{len(found)} snapshots begin with {identity!r}" if found else f"no snapshot {identity!r}"
        shown = format_some([name[:12] for name in found or known], 5) or "none so far"
        raise NotFoundError(f"There are {several}." if found else f"There is {several}.", f"Known ones: {shown}.")
    return settings.snapshots / found[0]


def _open_frozen(settings: Settings, folder: Path) -> Snapshot:
    import pandas as pd
    import pyarrow as pa

    with in_use(settings, folder):
        manifest = read_manifest(settings, folder)
        try:
            patches = pd.read_parquet(folder / _PATCHES)
            sound = _is_sound(folder, manifest, patches)
        except (OSError, KeyError, pa.ArrowException):
            sound = False
    if not sound:
        raise DamagedError(
            f"Snapshot {folder.name[:12]} was damaged or edited: {folder} is not what was frozen.",
            "Restore the folder from a backup, or remove it and freeze again:"
            " the same catalog gives the same snapshot.",
        )
    return Snapshot(
        SnapshotId(manifest.id),
        manifest.protocol,
        patches,
        manifest.options,
        manifest.left_out,
        frozenset(manifest.complete),
    )


def _is_sound(folder: Path, manifest: SnapshotManifest, patches: pd.DataFrame) -> bool:
    # The id says what the rows are; the hash of the file also covers where the pixels lie.
    named = folder.name == manifest.id == snapshot_id(manifest.protocol, patches, manifest.complete)
    return named and manifest.patches_sha256 == hash_file(folder / _PATCHES)


def _write_patches(patches: pd.DataFrame, path: Path) -> None:
    """Writes the list so that the same rows are the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, whole = pa.string(), pa.int64()
    types = {"x": whole, "y": whole, "row": whole, "label": pa.int8()}
    schema = pa.schema([(name, types.get(name, text)) for name in patches.columns])
    table = pa.Table.from_pandas(patches, schema=schema, preserve_index=False).replace_schema_metadata(None)
    repeated = [name for name in patches.columns if name != "pixel_sha256"]
    pq.write_table(table, path, row_group_size=1 << 16, use_dictionary=repeated, compression="zstd")
