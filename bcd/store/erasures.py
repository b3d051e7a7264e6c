"""Erasures: pixels of withdrawn patients, overwritten with zeros in their batch.

A batch that lost pixels says so itself, in `erased.json`, which is in place before the first pixel goes. Whoever
reads one of these rows meets an error that names the withdrawal, never a black patch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bcd.errors import BcdError, DamagedError
from bcd.patches import BatchId, Hospital, PatientId, Person
from bcd.settings import Settings
from bcd.store.objects import changed_file, in_use

MARK = "erased.json"
"""The file of a batch's folder that lists its erased rows."""


@dataclass(frozen=True)
class ErasedRows:
    """The rows of one patient in one batch.

    Attributes:
        hospital: The patient's hospital.
        patient: The withdrawn patient.
        withdrawn_at: When the withdrawal was recorded, as text.
        rows: Row numbers in the batch.
    """

    hospital: Hospital
    patient: PatientId
    withdrawn_at: str
    rows: list[int]


@contextmanager
def open_batch(settings: Settings, batch: BatchId) -> Iterator[Path]:
    """Yields the folder of a batch, which stays during the block; what is mapped of it stays mapped.

    Raises:
        DamagedError: The folder, or a file of it, is not there or cannot be read.
    """
    fix = "Restore BCD_HOME/store/batches from a backup that is as recent as the catalog."
    with in_use(settings, settings.batches / batch) as folder:
        try:
            yield folder
        except FileNotFoundError as error:
            elsewhere = f" and is not in {settings.store_url}" if settings.store_url else ""
            missing = f"{error.filename or folder} is missing{elsewhere}"
            raise DamagedError(f"Batch {batch[:12]} is in the catalog but {missing}.", fix) from error
        except ValueError as error:  # of NumPy and of Arrow
            raise DamagedError(f"A file of batch {batch[:12]} in {folder} is damaged: {error}.", fix) from error


def assert_batch_not_erased(settings: Settings, batch: BatchId, rows: NDArray[np.int64]) -> None:
    """Refuses to read rows of a batch whose pixels were erased; costs one look for a file where none were.

    Raises:
        BcdError: The pixels of a row are gone; the withdrawal is named.
    """
    for erased in _list_erased(settings, batch):
        if np.isin(rows, erased.rows).any():
            raise BcdError(
                f"Pixels of patient {erased.hospital}/{erased.patient} in batch {batch[:12]} were erased:"
                f" the patient is withdrawn since {erased.withdrawn_at[:10]}.",
                "Freeze a new snapshot, which leaves the patient out, and work with that one.",
            )


def _list_erased(settings: Settings, batch: BatchId) -> list[ErasedRows]:
    """Returns what was erased of a batch, by patient."""
    with in_use(settings, settings.batches / batch) as folder:
        try:
            text = (folder / MARK).read_text("utf-8")
        except FileNotFoundError:
            return []
    return [ErasedRows(**entry) for entry in json.loads(text)]


def mark_batch_erased(settings: Settings, batch: BatchId, erased: list[ErasedRows]) -> None:
    """Adds patients to what a batch says of its erased rows."""
    known = {(one.hospital, one.patient): one for one in [*_list_erased(settings, batch), *erased]}
    entries = [vars(known[person]) for person in sorted(known)]
    with changed_file(settings, settings.batches / batch, MARK) as partial:
        partial.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")


def is_batch_row_erased(settings: Settings, batch: BatchId, rows: list[int]) -> bool:
    """Whether the pixels of these rows are zeros."""
    return not any(_map_batch_pixels(settings, batch)[row].any() for row in rows)


def erase_batch_pixels(settings: Settings, batch: BatchId, erased: Mapping[Person, list[int]]) -> None:
    """Writes a batch's pixels anew, with zeros in the rows of these patients; the file is the old or the new one."""
    pixels = _map_batch_pixels(settings, batch)
    start, size = int(pixels.offset), int(pixels[0].nbytes)
    with (
        open_batch(settings, batch) as folder,
        changed_file(settings, folder, "pixels.npy") as partial,
    ):
        shutil.copyfile(folder / "pixels.npy", partial)
        with partial.open("r+b") as file:
            for row in sorted(row for rows in erased.values() for row in rows):
                file.seek(start + row * size)
                file.write(bytes(size))


def _map_batch_pixels(settings: Settings, batch: BatchId) -> np.memmap:
    with open_batch(settings, batch) as folder:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    assert isinstance(pixels, np.memmap)
    return pixels
