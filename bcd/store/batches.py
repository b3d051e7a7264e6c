"""Batches: what was admitted of one delivery, as a folder that never changes.

A batch is `pixels.npy`, (n, 50, 50, 3) uint8 RGB, which NumPy maps into memory, and `index.parquet`, whose
row i describes pixels i. Rows lie in canonical order (patient, slide, y, x), and the batch is named by a hash
of what they say: the same patches make the same batch wherever and with whatever library it is written.

Examples:
    >>> pixels = read_batch_pixels(settings, list_stored_patches(store, "east", "8867"))  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bcd.files import keep_folder, whole_folder
from bcd.patches import CANONICAL, BatchId
from bcd.progress import track_progress
from bcd.settings import Settings
from bcd.store.erasures import assert_batch_not_erased, open_batch
from bcd.store.objects import put, require
from bcd.store.spool import PATCH_SHAPE, Spool, write_pixels_header

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


ROW_GROUP = 1 << 16
"""Rows of `index.parquet` that are written, and held in memory, at a time."""

HASHED = 1 << 14
"""Rows that are turned to text at a time, to be hashed."""


@dataclass(frozen=True)
class BatchIndex:
    """What a batch says of its patches, in canonical order, made some rows at a time: a batch may have millions.

    Attributes:
        rows: How many they are.
        part: Makes the rows from one to before another: hospital, patient, slide (text), x, y (int64), label (Int8),
            sha256 of the file, pixel_sha256, flags (text).
    """

    rows: int
    part: Callable[[int, int], pd.DataFrame]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> BatchIndex:
        """Returns an index that is a frame already."""
        return cls(len(frame), lambda start, stop: frame.iloc[start:stop])

    def parts(self, size: int = ROW_GROUP) -> Iterator[pd.DataFrame]:
        """Yields all rows, at most so many at a time; an index without rows as one part."""
        for start in range(0, max(self.rows, 1), size):
            yield self.part(start, min(start + size, self.rows))

    @cached_property
    def identity(self) -> BatchId:
        """The batch's content hash."""
        return BatchId(_hash_parts(self.parts(HASHED), [*CANONICAL, "label", "pixel_sha256"]))


def hash_rows(rows: pd.DataFrame, columns: Iterable[str], chunk: int = HASHED) -> str:
    """Returns the sha256 of what the columns of a frame say, in hex; a missing value reads as nothing.

    The text that is hashed has a line a row, tabs between its values, and no newline at its end.

    Args:
        rows: The frame; its columns hold text or whole numbers.
        columns: What is hashed of it, in this order.
        chunk: Rows that are turned to text at a time.
    """
    return _hash_parts((rows.iloc[start : start + chunk] for start in range(0, len(rows), chunk)), columns)


def _hash_parts(parts: Iterable[pd.DataFrame], columns: Iterable[str]) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    digest, wanted, is_first = hashlib.sha256(), list(columns), True
    tab, line_end, nothing = (pa.scalar(text, pa.large_string()) for text in ("\t", "\n", ""))
    for rows in parts:
        part = pa.Table.from_pandas(rows[wanted], preserve_index=False).combine_chunks()
        first, *others = (pc.fill_null(column.cast(pa.large_string()), "") for column in part.columns)
        led = pc.binary_join_element_wise(line_end, first, nothing)
        for chunk in pc.binary_join_element_wise(led, *others, tab).chunks:
            digest.update(text_of(chunk)[1 if is_first else 0 :])
            is_first = False
    return digest.hexdigest()


def text_of(texts: pa.LargeStringArray) -> memoryview:
    """Returns the bytes of texts that were just computed, one after the other, without copying them."""
    _, ends, data = texts.buffers()
    stop = np.frombuffer(ends, np.int64)[len(texts)] if len(texts) else 0
    return memoryview(data)[:stop] if stop else memoryview(b"")


def write_batch(settings: Settings, index: BatchIndex, spool: Spool, spool_rows: NDArray[np.integer[Any]]) -> BatchId:
    """Writes a batch whole; where it exists, this changes nothing.

    Args:
        settings: Where batches lie.
        index: What it says of its patches.
        spool: The decoded patches; it is taken over where it holds just the batch's rows in their order.
        spool_rows: For each row of `index`, where its pixels lie in the spool.

    Returns:
        The batch's content hash.

    Raises:
        UnavailableError: The store is out of reach.
    """
    identity = index.identity
    folder = require(settings, settings.batches / identity)
    if not folder.exists():
        _write_batch_folder(folder, index, spool, spool_rows)
    put(settings, folder)
    return identity


def _write_batch_folder(folder: Path, index: BatchIndex, spool: Spool, spool_rows: NDArray[np.integer[Any]]) -> None:
    pixels = spool.finish()
    in_place = index.rows == spool.rows and np.array_equal(spool_rows, np.arange(spool.rows, dtype=spool_rows.dtype))
    if in_place and spool.path.exists():
        _write_index(index, spool.folder)
        keep_folder(spool.folder, folder)
        return
    with whole_folder(folder) as partial:
        _write_index(index, partial)
        with (partial / "pixels.npy").open("wb") as file:
            _copy_pixels(file, pixels, spool_rows)


def read_batch_index(settings: Settings, batch: BatchId, columns: list[str]) -> pd.DataFrame:
    """Reads columns of a batch's index, whose row i describes pixels i.

    Raises:
        BcdError: The batch's folder is not there.
    """
    import pandas as pd

    with open_batch(settings, batch) as folder:
        return pd.read_parquet(folder / "index.parquet", columns=columns)


def read_index_parts(settings: Settings, batch: BatchId, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yields columns of a batch's index, some rows at a time, in their order.

    Raises:
        BcdError: The batch's folder is not there.
    """
    import pyarrow.parquet as pq

    with open_batch(settings, batch) as folder, pq.ParquetFile(folder / "index.parquet") as index:
        yield from index.iter_batches(ROW_GROUP, columns=columns)


def _write_index(index: BatchIndex, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = (pa.Table.from_pandas(part, preserve_index=False) for part in index.parts())
    first = next(parts)
    with pq.ParquetWriter(folder / "index.parquet", first.schema) as file:
        file.write_table(first)
        for part in parts:
            file.write_table(part)


def _copy_pixels(
    file: BinaryIO, pixels: NDArray[np.uint8], rows: NDArray[np.integer[Any]], chunk: int = 1024
) -> None:
    write_pixels_header(file, len(rows))
    with track_progress("Writing patches", total=len(rows)) as advance:
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            file.write(pixels[part].tobytes())
            advance(len(part))


def open_pixels(settings: Settings, batch: BatchId) -> np.ndarray:
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
        identity = BatchId(str(batch))
        assert_batch_not_erased(settings, identity, rows[places])
        pixels[places] = open_pixels(settings, identity)[rows[places]]
    return pixels
