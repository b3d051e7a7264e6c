"""A folder, or a single file, that several machines share: its place in the home, and in the bucket.

    PREFIX/manifests/store/batches/3fa9….json    names, sizes and hashes of a folder's files
    PREFIX/files/store/batches/3fa9…/9c01…       a file's bytes, named by their sha256
    PREFIX/changed/store/batches/3fa9…           the folder was changed or removed, so copies are looked at again

A folder counts when its manifest is there, which is written last. What this machine holds a copy of is recorded in
`Settings.stored`, by the same names; a record is as the manifest was, and its time is when the copy was used last.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from bcd.errors import DamagedError, NotFoundError
from bcd.files import drop_folder, hash_file, keep_folder, lock_file, partial_folder, whole_file
from bcd.settings import Settings
from bcd.store.bucket import Bucket, open_bucket

if TYPE_CHECKING:
    from filelock import BaseFileLock, ReadWriteLock

_WHOLE = "."
"""The name that a manifest has for what is a single file."""

CHANGED = "changed"
"""The part of the bucket that says what was changed or removed."""

_MANIFESTS, _ENDING = "manifests", ".json"

_LOCKS = frozenset({"lock", ".lock"})
_PARTIAL = ".partial-"


class StoredFile(BaseModel):
    """A file in the store."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    sha256: str
    size: int


class FolderManifest(BaseModel):
    """What a folder holds, by name; the form's version is 1."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    format: int = 1
    files: dict[str, StoredFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def name_in_store(settings: Settings, path: Path) -> str:
    """Returns how a path of the home is called in the bucket."""
    return path.relative_to(settings.home).as_posix()


@contextmanager
def lock_recorded(settings: Settings) -> Iterator[Path]:
    """Yields the file that counts the bytes of recorded copies since room was made, to one process at a time."""
    with lock_file(settings.stored / ".locks" / "recorded.lock"):
        yield settings.stored / "recorded"


def read_recorded(counter: Path) -> int:
    """Reads how many bytes that are; as many as there may be, where a killed process left the file empty."""
    text = counter.read_text() if counter.exists() else "0"
    return int(text) if text.isdecimal() else sys.maxsize


@dataclass(frozen=True)
class Place:
    """A folder or file of the home and of the bucket."""

    settings: Settings
    path: Path

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket."""
        return open_bucket(self.settings.store_url)

    @cached_property
    def name(self) -> str:
        """What it is called in the bucket."""
        return name_in_store(self.settings, self.path)

    @property
    def manifest_key(self) -> str:
        """Where its manifest lies in the bucket."""
        return f"{_MANIFESTS}/{self.name}{_ENDING}"

    @property
    def changed_key(self) -> str:
        """Where the bucket says that it was changed or removed."""
        return f"{CHANGED}/{self.name}"

    @property
    def _record(self) -> Path:
        return self.settings.stored / f"{self.name}{_ENDING}"

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
        """Returns where a file of it lies in the bucket."""
        return f"files/{self.name}/{file.sha256}"

    def read_manifest(self) -> FolderManifest | None:
        """Reads what the bucket holds of it; None where it holds nothing."""
        data = self.bucket.read(self.manifest_key)
        return None if data is None else self.parse_manifest(data)

    def parse_manifest(self, data: bytes) -> FolderManifest:
        """Reads the bytes of its manifest.

        Raises:
            DamagedError: They are none.
        """
        try:
            return FolderManifest.model_validate_json(data)
        except ValidationError as error:
            raise DamagedError(
                f"The manifest {self.bucket.tell(self.manifest_key)} of {self.name} is damaged, or of a newer bcd.",
                "Restore it from a backup of the bucket, or delete it: a machine that has the folder puts it again.",
            ) from error

    def read_record(self) -> FolderManifest | None:
        """Reads what this machine knows that the bucket holds of it; None where it does not know, or has no copy."""
        try:
            return FolderManifest.model_validate_json(self._record.read_bytes()) if self.path.exists() else None
        except (FileNotFoundError, ValidationError):
            return None

    def write_record(self, manifest: FolderManifest) -> None:
        """Notes that there is a copy of it here, as the bucket holds it."""
        with whole_file(self._record) as partial:
            partial.write_text(manifest.model_dump_json(), "utf-8")
        with lock_recorded(self.settings) as counter:
            counter.write_text(str(read_recorded(counter) + manifest.size))

    def touch(self) -> None:
        """Notes that it was used now."""
        with suppress(FileNotFoundError):
            os.utime(self._record)

    def forget(self) -> None:
        """Notes that there is no copy of it here."""
        self._record.unlink(missing_ok=True)

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
            if self.bucket.read(self.changed_key) is not None:
                self.drop()
            else:  # nobody removed it: the bucket lost it
                self.upload(None)

    def upload(self, there: FolderManifest | None) -> None:
        """Puts it into the bucket, instead of what is there.

        Raises:
            FileNotFoundError: It is not here.
        """
        if not self.path.exists():
            raise FileNotFoundError(self.path)
        manifest = FolderManifest(files={name: _describe(path) for name, path in self._list_files()})
        if manifest != there:
            if there is not None:
                self.mark_changed()
            held = set(self.bucket.find(f"files/{self.name}"))  # also what somebody was killed at
            for name, file in manifest.files.items():
                if self.key(file) not in held:
                    self.bucket.upload(self.path / name, self.key(file))
            self._complete(manifest, there)
            if there is not None:
                self.mark_changed()
        self.write_record(manifest)

    def change(self, changes: Mapping[str, Path | None]) -> FolderManifest | None:
        """Puts files into it in the bucket, and removes those that are None; returns what it then holds."""
        there = self.read_manifest()
        if there is None:
            return None  # it is put later, whole
        files = dict(there.files)
        self.mark_changed()
        for name, path in changes.items():
            files.pop(name, None)
            if path is not None:
                files[name] = _describe(path)
                self.bucket.upload(path, self.key(files[name]))
        manifest = FolderManifest(files=files)
        self._complete(manifest, there)
        self.mark_changed()
        return manifest

    def mark_changed(self) -> None:
        """Tells other machines to look at their copies again: before a change, in case it is killed, and after it."""
        self.bucket.write(self.changed_key, f"{platform.node()} {time.time_ns()}".encode())

    def _complete(self, manifest: FolderManifest, before: FolderManifest | None) -> None:
        self.bucket.write(self.manifest_key, manifest.model_dump_json(indent=1).encode())
        # Not all that the new one does not name: another machine may be putting it.
        for key in self._keys(before) - self._keys(manifest):
            self.bucket.delete(key)

    def _keys(self, manifest: FolderManifest | None) -> set[str]:
        return {self.key(file) for file in manifest.files.values()} if manifest else set()

    def tidy(self) -> None:
        """Deletes bytes that its manifest does not name."""
        there = self.read_manifest()
        if there is not None:
            for key in {*self.bucket.find(f"files/{self.name}")} - self._keys(there):
                self.bucket.delete(key)

    def fetch(self, there: FolderManifest) -> None:
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

    def _fetch_whole(self, there: FolderManifest) -> bool:
        """Fetches a folder that is not here; returns whether nobody made it meanwhile."""
        with partial_folder(self.path.parent) as partial:
            for name, file in there.files.items():
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                self.download(name, file, partial / name)
            keep_folder(partial, self.path)
            return not partial.exists()

    def download(self, name: str, file: StoredFile, target: Path) -> None:
        """Copies a file of it from the bucket.

        Raises:
            DamagedError: It is missing, or is not what was put there.
        """
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
                f" {self.bucket.tell(self.manifest_key)}: a machine that has a copy puts it again.",
            )

    def _list_files(self) -> list[tuple[str, Path]]:
        if self.path.is_file():
            return [(_WHOLE, self.path)]
        files = (path for path in sorted(self.path.rglob("*")) if path.is_file() and path.name not in _LOCKS)
        names = ((path.relative_to(self.path).as_posix(), path) for path in files)
        return [(name, path) for name, path in names if _PARTIAL not in name]  # a killed process left it


def find_places(settings: Settings, below: Path | None = None) -> list[Place]:
    """Returns the places of which the bucket holds something, below a folder of the home or all, sorted by name."""
    part = f"{_MANIFESTS}/{name_in_store(settings, below)}" if below else _MANIFESTS
    keys = open_bucket(settings.store_url).find(part)
    names = (key.removeprefix(f"{_MANIFESTS}/").removesuffix(_ENDING) for key in keys)
    return [Place(settings, settings.home / name) for name in names]


def _describe(path: Path) -> StoredFile:
    return StoredFile(sha256=hash_file(path), size=path.stat().st_size)
