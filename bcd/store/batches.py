"""Batches: what was admitted of one delivery, as a folder that never changes.

A batch is `pixels.npy`, (n, 50, 50, 3) uint8 RGB, which NumPy maps into memory, and `index.parquet`, whose
row i describes pixels i. Rows lie in canonical order (patient, slide, y, x), and the batch is named by a hash
of what they say: the same patches make the same batch wherever and with whatever library it is written.

Examples:
    >>> pixels = read_batch_pixels(settings, list_stored_patches(store, "east", "8867"))  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bcd.files import keep_folder, whole_folder
from bcd.patches import CANONICAL, BatchId
from bcd.progress import track_progress
from bcd.settings import Settings
from bcd.store.erasures import assert_batch_not_erased, open_batch
from bcd.store.objects import put
from bcd.store.spool import PATCH_SHAPE, Spool, write_pixels_header

if TYPE_CHECKING:
    import pandas as pd


def hash_rows(rows: pd.DataFrame, columns: Iterable[str], chunk: int = 16_384) -> str:
    """Returns the sha256 of what the columns of a frame say, in hex; a missing value reads as nothing.

    The text that is hashed has a line a row, tabs between its values, and no newline at its end.

    Args:
        rows: The frame; its columns hold text or whole numbers.
        columns: What is hashed of it, in this order.
        chunk: Rows that are turned to text at a time.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    digest = hashlib.sha256()
    wanted = rows[list(columns)]
    for start in range(0, len(wanted), chunk):
        part = pa.Table.from_pandas(wanted.iloc[start : start + chunk], preserve_index=False)
        text = [pc.fill_null(column.cast(pa.large_string()), "") for column in part.columns]
        lines = pc.binary_join_element_wise(*text, pa.scalar("\t", pa.large_string()))
        if start:
            digest.update(b"\n")
        digest.update("\n".join(lines.to_pylist()).encode())
    return digest.hexdigest()


def hash_batch(index: pd.DataFrame) -> BatchId:
    """Returns the content hash of a batch from its index, whose rows are in canonical order."""
    return BatchId(hash_rows(index, [*CANONICAL, "label", "pixel_sha256"]))


def write_batch(settings: Settings, index: pd.DataFrame, spool: Spool, spool_rows: NDArray[np.int64]) -> BatchId:
    """Writes a batch whole; where it exists, this changes nothing.

    Args:
        settings: Where batches lie.
        index: hospital, patient, slide, x, y, label (Int8), sha256, pixel_sha256, flags, in canonical order.
        spool: The decoded patches; it is taken over where it holds just the batch's rows in their order.
        spool_rows: For each row of `index`, where its pixels lie in the spool.

    Returns:
        The batch's content hash.

    Raises:
        UnavailableError: The store is out of reach.
    """
    identity = hash_batch(index)
    folder = settings.batches / identity
    if not folder.exists():
        _write_batch_folder(folder, index, spool, spool_rows)
    put(settings, folder)
    return identity


def _write_batch_folder(folder: Path, index: pd.DataFrame, spool: Spool, spool_rows: NDArray[np.int64]) -> None:
    pixels = spool.finish()
    in_place = len(index) == spool.rows and np.array_equal(spool_rows, np.arange(spool.rows))
    if in_place and spool.path.exists():
        _write_index(index, spool.folder)
        keep_folder(spool.folder, folder)
        return
    with whole_folder(folder) as partial:
        _write_index(index, partial)
        with (partial / "pixels.npy").open("wb") as file:
            _copy_pixels(file, pixels, spool_rows)


def read_batch_index(settings: Settings, batch: str, columns: list[str]) -> pd.DataFrame:
    """Reads columns of a batch's index, whose row i describes pixels i.

    Raises:
        BcdError: The batch's folder is not there.
    """
    import pandas as pd

    with open_batch(settings, batch) as folder:
        return pd.read_parquet(folder / "index.parquet", columns=columns)


def _write_index(index: pd.DataFrame, folder: Path) -> None:
    index.to_parquet(folder / "index.parquet", index=False, row_group_size=1 << 16)


def _copy_pixels(file: BinaryIO, pixels: NDArray[np.uint8], rows: NDArray[np.int64], chunk: int = 1024) -> None:
    write_pixels_header(file, len(rows))
    with track_progress("Writing patches", total=len(rows)) as advance:
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            file.write(pixels[part].tobytes())
            advance(len(part))


def open_pixels(settings: Settings, batch: str) -> np.ndarray:
    """Maps a batch's pixels into memory, (n, 50, 50, 3) uint8 RGB, read-only.

    Raises:
        BcdError: The batch's folder is not there.
    """
    with open_batch(settings, batch) as folder:
        return np.asarray(np.load(folder / "pixels.npy", mmap_mode="r"))


def read_batch_pixels(settings: Settings, patches: pd.DataFrame) -> np.ndarray:
    """Reads the pixels of patches, in the order of the frame.

    Args:
        settings: Where batches lie.
        patches: Any frame with the columns `batch` and `row`.

    Returns:
        (n, 50, 50, 3) uint8 RGB.

    Raises:
        BcdError: A batch's folder is not there, or pixels were erased since their patient withdrew.
    """
    pixels = np.empty((len(patches), *PATCH_SHAPE), np.uint8)
    rows = patches["row"].to_numpy(dtype=np.int64)
    for batch, places in patches.reset_index(drop=True).groupby("batch", sort=False).indices.items():
        assert_batch_not_erased(settings, str(batch), rows[places])
        pixels[places] = open_pixels(settings, str(batch))[rows[places]]
    return pixels
