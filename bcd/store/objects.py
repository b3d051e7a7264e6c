"""What several machines share, in a bucket; a home is then a cache of it, with the folders at their usual places.

Whatever lies in the store is written as a whole folder (or file) of the home, as on one machine. `put` then copies it
to the bucket, before the catalog names it, and `in_use` fetches it where it is not here. Without `store_url` both do
nothing.

    PREFIX/manifests/store/batches/3fa9….json    names, sizes and hashes of a folder's files
    PREFIX/files/store/batches/3fa9…/9c01…       a file's bytes, named by their sha256
    PREFIX/changed/store/batches/3fa9…           the folder was changed or removed, so copies are looked at again

A folder counts when its manifest is there, which is written last. The first machine that puts a folder decides what
is in it; another that made the same one takes that. The only changes are erasures (`changed_file`, `remove`), which
happen in the bucket first: a machine compares its copy with the manifest when it opens it, and those that it does not
open once an hour, while it uses the store.

What this machine holds a copy of is in `Settings.stored`, by the same names; what was used longest ago goes first
where that is more than `store_cache_gb`. A folder that somebody has `in_use` stays, and one that the bucket does not
hold.

Examples:
    >>> put(settings, settings.batches / batch)  # doctest: +SKIP
    >>> with in_use(settings, settings.batches / batch) as folder:  # doctest: +SKIP
    ...     pixels = np.load(folder / "pixels.npy", mmap_mode="r")
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from bcd.errors import DamagedError, NotFoundError, UnavailableError
from bcd.files import drop_folder, hash_file, keep_folder, lock_file, partial_folder, whole_file
from bcd.progress import say_progress
from bcd.settings import Settings
from bcd.store.bucket import Bucket, open_bucket

if TYPE_CHECKING:
    from filelock import BaseFileLock, ReadWriteLock

_WHOLE = "."
"""The name that a manifest has for what is a single file."""

_LOCKS = frozenset({"lock", ".lock"})
_PARTIAL = ".partial-"

_FRESH_SECONDS = 60.0
"""For so long a folder that was compared with the bucket is not compared again by the same process."""

_FOLLOW_SECONDS = 3600.0
"""So often a machine that uses the store asks what was changed or removed in it."""

_compared: dict[Path, float] = {}
_added: dict[Path, int] = {}


class StoredFile(BaseModel):
    """A file in the store."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    sha256: str
    size: int


class Manifest(BaseModel):
    """What a folder holds, by name; the form's version is 1."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    format: int = 1
    files: dict[str, StoredFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def put(settings: Settings, path: Path) -> None:
    """Copies a folder or a file that has become whole to the bucket; what is there already costs nothing.

    A folder that another machine has put first is taken from there; of a file the last one counts.

    Raises:
        UnavailableError: The store is out of reach.
    """
    if not settings.store_url:
        return
    place = _Place(settings, path)
    with place.turn():
        if path.is_file() or place.read_record() is None:
            there = place.read_manifest()
            if there is None or path.is_file():
                place.upload(there)
            else:
                place.fetch(there)
    _keep_house(settings, place)


def require(settings: Settings, path: Path) -> Path:
    """Returns a folder or a file of the store, fetched where it is not here or is another one there.

    Where neither this machine nor the bucket has it, nothing is there, and whoever opens it says so.

    Raises:
        UnavailableError: The store is out of reach.
        DamagedError: A file of it is missing in the bucket, or is not what was put there.
    """
    if not settings.store_url:
        return path
    place = _Place(settings, path)
    if not (path.is_dir() and time.monotonic() - _compared.get(path, -_FRESH_SECONDS) < _FRESH_SECONDS):
        with place.turn():
            place.compare()
        _compared[path] = time.monotonic()
        _keep_house(settings, place)
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
    with _Place(settings, path).use().read_lock():
        yield require(settings, path)


def is_stored(settings: Settings, path: Path) -> bool:
    """Whether a folder or a file is here or in the bucket."""
    return path.exists() or (bool(settings.store_url) and _Place(settings, path).read_manifest() is not None)


def list_stored(settings: Settings, parent: Path, pattern: str) -> list[Path]:
    """Returns what is here or in the bucket below a folder and matches a pattern of `Path.glob`, sorted."""
    found = set(parent.glob(pattern))
    if settings.store_url:
        below = f"manifests/{_name_in(settings, parent)}"
        keys = open_bucket(settings.store_url).find(below)
        there = {settings.home / key.removeprefix("manifests/").removesuffix(".json") for key in keys}
        found |= {path for path in there if path.relative_to(parent).match(pattern)}
    return sorted(found)


def read_stored(settings: Settings, folder: Path, name: str) -> bytes:
    """Reads a small file of a folder, which is not fetched for it.

    Raises:
        FileNotFoundError: Neither this machine nor the bucket has it.
    """
    if settings.store_url and not (folder / name).exists():
        place = _Place(settings, folder)
        manifest = place.read_manifest()
        data = place.bucket.read(place.key(manifest.files[name])) if manifest and name in manifest.files else None
        if data is not None:
            return data
    return (folder / name).read_bytes()


@contextmanager
def changed_file(settings: Settings, folder: Path, name: str) -> Iterator[Path]:
    """Yields a temporary path that becomes a file of a folder that is in use: in the bucket first, then here."""
    place, manifest = _Place(settings, folder), None
    with whole_file(folder / name) as partial:
        yield partial
        if settings.store_url:
            with place.turn():
                manifest = place.change({name: partial})
    if manifest is not None:
        place.write_record(manifest)


def remove_files(settings: Settings, folder: Path, names: Collection[str]) -> None:
    """Removes files of a folder that is in use: in the bucket first, then here."""
    place, manifest = _Place(settings, folder), None
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
        place = _Place(settings, folder)
        with place.turn():
            place.tidy()


def holds_any(settings: Settings, folder: Path) -> bool:
    """Whether anything lies below a folder, here or in the bucket, also what a killed process left."""
    if folder.exists() or not settings.store_url:
        return folder.exists()
    bucket, name = open_bucket(settings.store_url), _name_in(settings, folder)
    return any(bucket.find(f"{part}/{name}") for part in ("files", "manifests"))


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
    bucket = open_bucket(settings.store_url)
    manifests = bucket.read_many(bucket.find("manifests"))
    found = []
    for key in sorted(manifests):
        place = _Place(settings, settings.home / key.removeprefix("manifests/").removesuffix(".json"))
        manifest = place.parse_manifest(manifests[key])
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
    _place: _Place

    def fetch(self, target: Path) -> None:
        """Copies it to a file.

        Raises:
            DamagedError: It is missing, or is not what was put there.
        """
        self._place.download(self.name, self.file, target)


def _remove_there(settings: Settings, path: Path) -> None:
    bucket, name = open_bucket(settings.store_url), _name_in(settings, path)
    names = [key.removeprefix("manifests/").removesuffix(".json") for key in bucket.find(f"manifests/{name}")]
    for each in [*names, name]:
        if bucket.read(f"manifests/{each}.json") is not None:
            bucket.write(f"changed/{each}", b"")
            bucket.delete(f"manifests/{each}.json")
        _Place(settings, settings.home / each).forget()
    for key in bucket.find(f"files/{name}"):
        bucket.delete(key)


def _name_in(settings: Settings, path: Path) -> str:
    return path.relative_to(settings.home).as_posix()


@dataclass(frozen=True)
class _Place:
    """A folder or file of the home and of the bucket."""

    settings: Settings
    path: Path

    @cached_property
    def bucket(self) -> Bucket:
        return open_bucket(self.settings.store_url)

    @cached_property
    def name(self) -> str:
        return _name_in(self.settings, self.path)

    @property
    def _record(self) -> Path:
        return self.settings.stored / f"{self.name}.json"

    def _lock(self, kind: str) -> Path:
        # A few for all: there may be a hundred thousand folders.
        return self.settings.stored / ".locks" / f"{hashlib.sha256(self.name.encode()).hexdigest()[:2]}.{kind}"

    def turn(self) -> BaseFileLock:
        """Returns the lock of whoever fetches, puts or changes it."""
        return lock_file(self._lock("turn"))

    def use(self) -> ReadWriteLock:
        """Returns the lock that whoever reads it shares, and whoever makes room has alone."""
        from filelock import ReadWriteLock

        path = self._lock("use")
        path.parent.mkdir(parents=True, exist_ok=True)
        return ReadWriteLock(path, is_singleton=False)

    def key(self, file: StoredFile) -> str:
        return f"files/{self.name}/{file.sha256}"

    def read_manifest(self) -> Manifest | None:
        """Reads what the bucket holds of it; None where it holds nothing."""
        data = self.bucket.read(f"manifests/{self.name}.json")
        return None if data is None else self.parse_manifest(data)

    def parse_manifest(self, data: bytes) -> Manifest:
        try:
            return Manifest.model_validate_json(data)
        except ValidationError as error:
            key = f"manifests/{self.name}.json"
            raise DamagedError(
                f"The manifest {self.bucket.tell(key)} of {self.name} is damaged, or of a newer bcd.",
                "Restore it from a backup of the bucket, or delete it: a machine that has the folder puts it again.",
            ) from error

    def read_record(self) -> Manifest | None:
        """Reads what this machine knows that the bucket holds of it; None where it does not know, or has no copy."""
        try:
            return Manifest.model_validate_json(self._record.read_bytes()) if self.path.exists() else None
        except (FileNotFoundError, ValidationError):
            return None

    def write_record(self, manifest: Manifest) -> None:
        with whole_file(self._record) as partial:
            partial.write_text(manifest.model_dump_json(), "utf-8")
        base = self.settings.stored
        _added[base] = _added.get(base, 0) + manifest.size

    def touch(self) -> None:
        """Notes that it was used now."""
        with suppress(FileNotFoundError):
            os.utime(self._record)

    def forget(self) -> None:
        self._record.unlink(missing_ok=True)
        _compared.pop(self.path, None)

    def drop(self) -> None:
        """Removes the copy that this machine has."""
        if self.path.is_dir():
            drop_folder(self.path)
        else:
            self.path.unlink(missing_ok=True)
        self.forget()

    def compare(self) -> None:
        """Makes the copy of this machine what the bucket holds."""
        there, known = self.read_manifest(), self.read_record()
        if there is not None:
            if there != known:
                self.fetch(there)
        elif known is not None:
            if self.bucket.read(f"changed/{self.name}") is not None:
                self.drop()
            else:  # nobody removed it: the bucket lost it
                self.upload(None)

    def upload(self, there: Manifest | None) -> None:
        """Puts it into the bucket, instead of what is there."""
        manifest = Manifest(files={name: _describe(path) for name, path in self._list_files()})
        if manifest != there:
            if there is not None:
                self.bucket.write(f"changed/{self.name}", b"")
            held = set(self.bucket.find(f"files/{self.name}"))  # also what somebody was killed at
            for name, file in manifest.files.items():
                if self.key(file) not in held:
                    self.bucket.upload(self.path / name, self.key(file))
            self._complete(manifest, there)
        self.write_record(manifest)

    def change(self, changes: Mapping[str, Path | None]) -> Manifest | None:
        """Puts files into it in the bucket, and removes those that are None; returns what it then holds."""
        there = self.read_manifest()
        if there is None:
            return None  # it is put later, whole
        files = dict(there.files)
        self.bucket.write(f"changed/{self.name}", b"")
        for name, path in changes.items():
            files.pop(name, None)
            if path is not None:
                files[name] = _describe(path)
                self.bucket.upload(path, self.key(files[name]))
        manifest = Manifest(files=files)
        self._complete(manifest, there)
        return manifest

    def _complete(self, manifest: Manifest, before: Manifest | None) -> None:
        self.bucket.write(f"manifests/{self.name}.json", manifest.model_dump_json(indent=1).encode())
        # Not all that the new one does not name: another machine may be putting it.
        for key in self._keys(before) - self._keys(manifest):
            self.bucket.delete(key)

    def _keys(self, manifest: Manifest | None) -> set[str]:
        return {self.key(file) for file in manifest.files.values()} if manifest else set()

    def tidy(self) -> None:
        """Deletes bytes that its manifest does not name."""
        there = self.read_manifest()
        if there is not None:
            for key in {*self.bucket.find(f"files/{self.name}")} - self._keys(there):
                self.bucket.delete(key)

    def fetch(self, there: Manifest) -> None:
        """Copies what the bucket holds of it to its place, whole."""
        if self.path.exists() or _WHOLE in there.files or not self._fetch_whole(there):
            for name, file in sorted(there.files.items()):
                path = self.path / name
                if not (path.exists() and path.stat().st_size == file.size and hash_file(path) == file.sha256):
                    with whole_file(path) as partial:
                        self.download(name, file, partial)
            known = self.read_record()
            for name in known.files.keys() - there.files.keys() if known else ():
                (self.path / name).unlink(missing_ok=True)
        self.write_record(there)

    def _fetch_whole(self, there: Manifest) -> bool:
        """Fetches a folder that is not here; returns whether nobody made it meanwhile."""
        with partial_folder(self.path.parent) as partial:
            for name, file in there.files.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                self.download(name, file, partial / name)
            keep_folder(partial, self.path)
            return not partial.exists()

    def download(self, name: str, file: StoredFile, target: Path) -> None:
        key = self.key(file)
        try:
            self.bucket.download(key, target)
            fault = "" if hash_file(target) == file.sha256 else "is not what was put there"
        except NotFoundError:
            fault = "is missing"
        if fault:
            what = self.name if name == _WHOLE else f"{self.name}/{name}"
            raise DamagedError(
                f"The object {self.bucket.tell(key)} {fault}: it should be {what}, {file.size:,} bytes.",
                "Restore it from a backup of the bucket. Or delete it and"
                f" {self.bucket.tell(f'manifests/{self.name}.json')}: a machine that has a copy puts it again.",
            )

    def _list_files(self) -> list[tuple[str, Path]]:
        if self.path.is_file():
            return [(_WHOLE, self.path)]
        files = (path for path in sorted(self.path.rglob("*")) if path.is_file() and path.name not in _LOCKS)
        names = ((path.relative_to(self.path).as_posix(), path) for path in files)
        return [(name, path) for name, path in names if _PARTIAL not in name]  # a killed process left it


def _describe(path: Path) -> StoredFile:
    return StoredFile(sha256=hash_file(path), size=path.stat().st_size)


def _keep_house(settings: Settings, used: _Place) -> None:
    """Follows what others changed, and makes room, each now and then."""
    used.touch()
    followed = settings.stored / "followed"
    followed.parent.mkdir(parents=True, exist_ok=True)
    if not followed.exists() or time.time() - followed.stat().st_mtime > _FOLLOW_SECONDS:
        follow_changes(settings)
        followed.touch()
    if _added.get(settings.stored, 0) >= _most_bytes(settings) / 100:
        make_room(settings)
        _added[settings.stored] = 0


def follow_changes(settings: Settings) -> None:
    """Makes the copies of this machine what the bucket holds, of what anybody changed or removed."""
    for key in open_bucket(settings.store_url).find("changed"):
        place = _Place(settings, settings.home / key.removeprefix("changed/"))
        if place.read_record() is not None:
            try:
                with place.turn():
                    place.compare()
            except DamagedError as error:  # which is no fault of what this process does
                say_progress(str(error))


def make_room(settings: Settings) -> None:
    """Removes the copies that were used longest ago, until the others are within `store_cache_gb`."""
    held = _list_copies(settings)
    total = sum(size for _, size, _ in held)
    for _, size, place in sorted(held, key=lambda each: each[0]):
        if total <= _most_bytes(settings):
            return
        if _drop_unused(place):
            total -= size


def measure_copies(settings: Settings) -> int:
    """Returns the bytes of what this machine keeps a copy of."""
    return sum(size for _, size, _ in _list_copies(settings))


def _list_copies(settings: Settings) -> list[tuple[float, int, _Place]]:
    """Returns of each copy when it was used, its bytes and its place."""
    held = []
    for record in settings.stored.rglob("*.json"):
        name = record.relative_to(settings.stored).as_posix().removesuffix(".json")
        with suppress(FileNotFoundError):  # another process makes room too
            size = Manifest.model_validate_json(record.read_bytes()).size
            held.append((record.stat().st_mtime, size, _Place(settings, settings.home / name)))
    return held


def _most_bytes(settings: Settings) -> float:
    return settings.store_cache_gb * 1e9


def _drop_unused(place: _Place) -> bool:
    from filelock import Timeout

    try:
        with place.use().write_lock(blocking=False), place.turn().acquire(blocking=False):
            place.drop()
    except Timeout:
        return False
    return True
