"""Batches: what was admitted of one delivery, as a folder that never changes.

A batch is `pixels.npy`, (n, 50, 50, 3) uint8 RGB, which NumPy maps into memory, and `index.parquet`, whose
row i describes pixels i. Rows lie in canonical order (patient, slide, y, x), and the batch is named by a hash
of what they say: the same patches make the same batch wherever and with whatever library it is written.

Example:
    >>> newest = list_batches(catalog)[-1]  # doctest: +SKIP
    >>> pixels = read_pixels(settings, patient_patches(settings, catalog, "east", "8867"))  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.files import whole_folder
from bcd.patches import PATCH_PIXELS, BatchId, Hospital
from bcd.progress import track
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.catalog import Catalog

if TYPE_CHECKING:
    import pandas as pd

CELL = ["hospital", "patient", "slide", "x", "y"]
"""The columns that name a patch."""

CANONICAL = ["hospital", "patient", "slide", "y", "x"]
"""The order of rows wherever an identity is taken from them."""

PATCH_SHAPE = (PATCH_PIXELS, PATCH_PIXELS, 3)


@dataclass(frozen=True)
class Batch:
    """One admitted batch, as the catalog knows it.

    Attributes:
        id: Content hash; the name of its folder.
        hospital: Where it came from.
        delivery: Name of the folder or archive that was delivered.
        admitted_at: When, in UTC.
        patches: Number of patches in it.
        patients: Number of patients they are of.
        refused: Number of files of the delivery that were refused.
        ignored: Number of files of the delivery that are an operating system's litter.
    """

    id: BatchId
    hospital: Hospital
    delivery: str
    admitted_at: datetime
    patches: int
    patients: int
    refused: int
    ignored: int


def list_batches(catalog: Catalog) -> list[Batch]:
    """Returns all batches in the order of their admission."""
    refused = (
        sa.select(sa.func.count())
        .where(tables.refusals.c.delivery == tables.deliveries.c.id)
        .correlate(tables.deliveries)
        .scalar_subquery()
    )
    query = (
        sa.select(tables.batches.c.id.label("batch"), tables.deliveries, refused.label("refused"))
        .join_from(tables.batches, tables.deliveries)
        .order_by(tables.batches.c.number)
    )
    with catalog.engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        Batch(
            id=BatchId(row["batch"]),
            hospital=Hospital(row["hospital"]),
            delivery=row["name"],
            admitted_at=row["admitted_at"],
            patches=row["admitted"],
            patients=row["patients"],
            refused=row["refused"],
            ignored=row["ignored"],
        )
        for row in rows
    ]


def hash_rows(rows: pd.DataFrame, columns: Iterable[str]) -> str:
    """Returns the sha256 of what the columns of a frame say, in hex; a missing value reads as nothing."""
    text = [rows[column].astype("string").fillna("").tolist() for column in columns]
    lines = ("\t".join(values) for values in zip(*text, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def batch_id(index: pd.DataFrame) -> BatchId:
    """Returns the content hash of a batch from its index, whose rows are in canonical order."""
    return BatchId(hash_rows(index, [*CANONICAL, "label", "pixel_sha256"]))


def write_batch(settings: Settings, index: pd.DataFrame, spool: np.ndarray, spool_rows: np.ndarray) -> BatchId:
    """Writes a batch whole; where it exists, this changes nothing.

    Args:
        settings: Where batches lie.
        index: hospital, patient, slide, x, y, label (Int8), sha256, pixel_sha256, in canonical order.
        spool: Decoded patches in any order, (m, 50, 50, 3) uint8 RGB, usually a memory map.
        spool_rows: For each row of `index`, where its pixels lie in `spool`.

    Returns:
        The batch's content hash.
    """
    identity = batch_id(index)
    folder = settings.batches / identity
    if not folder.exists():
        with whole_folder(folder) as partial:
            index.to_parquet(partial / "index.parquet", index=False)
            with (partial / "pixels.npy").open("wb") as file:
                _write_pixels(file, spool, spool_rows)
    return identity


def _write_pixels(file: BinaryIO, spool: np.ndarray, spool_rows: np.ndarray, chunk: int = 1024) -> None:
    # Written, not mapped: a full disk is then an error that can be told, where a map would kill the process.
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(spool_rows), *PATCH_SHAPE)}
    np.lib.format.write_array_header_1_0(file, header)
    with track("Writing patches", total=len(spool_rows)) as advance:
        for start in range(0, len(spool_rows), chunk):
            rows = spool_rows[start : start + chunk]
            file.write(spool[rows].tobytes())
            advance(len(rows))


def open_pixels(settings: Settings, batch: str) -> np.ndarray:
    """Maps a batch's pixels into memory, (n, 50, 50, 3) uint8 RGB, read-only.

    Raises:
        BcdError: The batch's folder is not there.
    """
    path: Path = settings.batches / batch / "pixels.npy"
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except FileNotFoundError as error:
        raise BcdError(
            f"Batch {batch[:12]} is in the catalog but {path} is missing.",
            "Restore BCD_HOME/store/batches from a backup that is as recent as the catalog.",
        ) from error


def read_pixels(settings: Settings, patches: pd.DataFrame) -> np.ndarray:
    """Reads the pixels of patches, in the order of the frame.

    Args:
        settings: Where batches lie.
        patches: Any frame with the columns `batch` and `row`.

    Returns:
        (n, 50, 50, 3) uint8 RGB.

    Raises:
        BcdError: A batch's folder is not there.
    """
    pixels = np.empty((len(patches), *PATCH_SHAPE), np.uint8)
    rows = patches["row"].to_numpy(dtype=np.int64)
    for batch, places in patches.reset_index(drop=True).groupby("batch", sort=False).indices.items():
        pixels[places] = open_pixels(settings, str(batch))[rows[places]]
    return pixels
