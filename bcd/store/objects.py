"""What several machines share, in a bucket; a home is then a cache of it, with the folders at their usual places.

Whatever lies in the store is written as a whole folder (or file) of the home, as on one machine. `put` then copies it
to the bucket, before the catalog names it, and `in_use` fetches it where it is not here (`bcd.store.place`). Without
`store_url` both do nothing.

The first machine that puts a folder decides what is in it; another that made the same one takes that. The only
changes are erasures (`changed_file`, `remove_files`, `remove`), which happen in the bucket first: a machine compares
its copy with the bucket when it opens it, and those that it does not open now and then (`bcd.store.copies`).

Examples:
    >>> put(settings, settings.batches / batch)  # doctest: +SKIP
    >>> with in_use(settings, settings.batches / batch) as folder:  # doctest: +SKIP
    ...     pixels = np.load(folder / "pixels.npy", mmap_mode="r")
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bcd.errors import UnavailableError
from bcd.files import whole_file
from bcd.settings import Settings
from bcd.store.bucket import open_bucket
from bcd.store.copies import keep_copies
from bcd.store.place import Place, StoredFile, find_places, name_in_store

_FRESH_SECONDS = 60.0
"""For so long a folder that was compared with the bucket is not compared again by the same process."""

_compared: dict[Path, float] = {}


def put(settings: Settings, path: Path) -> None:
    """Copies a folder or a file that has become whole to the bucket; what is there already costs a question.

    A folder that another machine has put first is taken from there; of a file the last one counts.

    Raises:
        UnavailableError: The store is out of reach.
    """
    if not settings.store_url:
        return
    place = Place(settings, path)
    with place.turn():
        there = place.read_manifest()
        if there is None or path.is_file():
            place.upload(there)
        elif there != place.read_record():
            place.fetch(there)
    keep_copies(settings, place)


def write_stored(settings: Settings, file: Path, text: str) -> None:
    """Writes a file of text whole, here and then in the bucket.

    Raises:
        UnavailableError: The store is out of reach.
    """
    with whole_file(file) as partial:
        partial.write_text(text, "utf-8")
    put(settings, file)


def require(settings: Settings, path: Path) -> Path:
    """Returns a folder or a file of the store, fetched where it is not here or is another one there.

    Where neither this machine nor the bucket has it, nothing is there, and whoever opens it says so.

    Raises:
        UnavailableError: The store is out of reach.
        DamagedError: A file of it is missing in the bucket, or is not what was put there.
    """
    if not settings.store_url:
        return path
    place = Place(settings, path)
    if not (path.is_dir() and time.monotonic() - _compared.get(path, -_FRESH_SECONDS) < _FRESH_SECONDS):
        with place.turn():
            place.compare()
        _compared[path] = time.monotonic()
        keep_copies(settings, place)
    place.touch()
    return path


@contextmanager
def in_use(settings: Settings, path: Path) -> Iterator[Path]:
    """Lets nobody make room by removing a folder during the block; `require` before it.

    A file that is mapped into memory in the block stays mapped after it.
    """
    if not settings.store_url:
        yield path
        return
    with Place(settings, path).use().read_lock():
        yield require(settings, path)


def is_stored(settings: Settings, path: Path) -> bool:
    """Whether a folder or a file is here or in the bucket."""
    return path.exists() or (bool(settings.store_url) and Place(settings, path).read_manifest() is not None)


def list_stored(settings: Settings, parent: Path, pattern: str) -> list[Path]:
    """Returns what is here or in the bucket below a folder and matches a pattern of `Path.glob`, sorted."""
    found = set(parent.glob(pattern))
    if settings.store_url:
        there = (place.path for place in find_places(settings, parent))
        found |= {path for path in there if path.relative_to(parent).match(pattern)}
    return sorted(found)


def read_stored(settings: Settings, folder: Path, name: str) -> bytes:
    """Reads a small file of a folder, which is not fetched for it.

    Raises:
        FileNotFoundError: Neither this machine nor the bucket has it.
    """
    if settings.store_url and not (folder / name).exists():
        place = Place(settings, folder)
        manifest = place.read_manifest()
        data = place.bucket.read(place.key(manifest.files[name])) if manifest and name in manifest.files else None
        if data is not None:
            return data
    return (folder / name).read_bytes()


@contextmanager
def changed_file(settings: Settings, folder: Path, name: str) -> Iterator[Path]:
    """Yields a temporary path that becomes a file of a folder that is in use: in the bucket first, then here."""
    place, manifest = Place(settings, folder), None
    with whole_file(folder / name) as partial:
        yield partial
        if settings.store_url:
            with place.turn():
                manifest = place.change({name: partial})
    if manifest is not None:
        place.write_record(manifest)


def remove_files(settings: Settings, folder: Path, names: Collection[str]) -> None:
    """Removes files of a folder that is in use: in the bucket first, then here."""
    place, manifest = Place(settings, folder), None
    if settings.store_url:
        with place.turn():
            manifest = place.change(dict.fromkeys(names))
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if manifest is not None:
        place.write_record(manifest)


def remove(settings: Settings, path: Path) -> None:
    """Removes a folder with all that lies below it, or a file: in the bucket first, then here."""
    if settings.store_url:
        _remove_there(settings, path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tidy(settings: Settings, folder: Path) -> None:
    """Deletes bytes in the bucket that a process was killed at deleting; nobody may put or change the folder now."""
    if settings.store_url:
        place = Place(settings, folder)
        with place.turn():
            place.tidy()


def holds_any(settings: Settings, folder: Path) -> bool:
    """Whether anything lies below a folder, here or in the bucket, also what a killed process left."""
    if folder.exists() or not settings.store_url:
        return folder.exists()
    below = f"files/{name_in_store(settings, folder)}"
    return bool(open_bucket(settings.store_url).find(below) or find_places(settings, folder))


def probe_store(settings: Settings) -> None:
    """Makes sure that the store can be written, read and cleaned up.

    Raises:
        BcdError: It cannot.
    """
    bucket, key = open_bucket(settings.store_url), f"probe/{platform.node()}-{os.getpid()}"
    bucket.write(key, b"bcd")
    if bucket.read(key) != b"bcd":
        raise UnavailableError(
            f"The store {settings.store_url} does not give back what was written to it.", "Name another one."
        )
    bucket.delete(key)


def list_objects(settings: Settings) -> list[StoredObject]:
    """Returns every file that the bucket holds, by path."""
    places = {place.manifest_key: place for place in find_places(settings)}
    manifests = open_bucket(settings.store_url).read_many(list(places))
    found = []
    for key in sorted(manifests):
        place, manifest = places[key], places[key].parse_manifest(manifests[key])
        found += [StoredObject(place.path / name, name, file, place) for name, file in manifest.files.items()]
    return found


@dataclass(frozen=True)
class StoredObject:
    """A file in the bucket.

    Attributes:
        path: Where it belongs in the home.
        name: Its name in its folder.
        file: Its hash and size.
    """

    path: Path
    name: str
    file: StoredFile
    _place: Place

    def fetch(self, target: Path) -> None:
        """Copies it to a file.

        Raises:
            DamagedError: It is missing, or is not what was put there.
        """
        self._place.download(self.name, self.file, target)


def _remove_there(settings: Settings, path: Path) -> None:
    bucket = open_bucket(settings.store_url)
    for place in [*find_places(settings, path), Place(settings, path)]:
        if bucket.read(place.manifest_key) is not None:
            place.mark_changed()
            bucket.delete(place.manifest_key)
            place.mark_changed()
        place.forget()
    for key in bucket.find(f"files/{name_in_store(settings, path)}"):
        bucket.delete(key)
