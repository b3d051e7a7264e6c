"""The folder of backups: objects named by the hash of their content, and a manifest for each backup.

    objects/3f/3fa9…                    a file's bytes, once, however many backups hold it
    backups/2026-11-29T22-18-04Z.json   a backup: each file's path in the home, sha256, size and time

A manifest is written last and whole, when all that it names is on the disk: a backup that was killed has none, and
what it copied is found by the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bcd.errors import BcdError, DamagedError, NotFoundError
from bcd.files import flush_file, keep_file, whole_file
from bcd.progress import Advance

FORMAT = 1

_CHUNK = 1 << 22
_HASH = r"^[0-9a-f]{64}$"


def _require_inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError("a path inside the home")
    return path


class BackupFile(BaseModel):
    """A file of a backup.

    Attributes:
        path: Where it belongs in the home, with slashes.
        sha256: Hash of its bytes, by which its object is named.
        size: Its bytes.
        mtime_ns: When it was changed last, in ns since 1970: a file with this size and time is not read again.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    path: Annotated[str, AfterValidator(_require_inside)]
    sha256: str = Field(pattern=_HASH)
    size: int = Field(ge=0)
    mtime_ns: int


class BackupManifest(BaseModel):
    """A backup.

    Attributes:
        format: Version of this file's form.
        bcd: The version of bcd that made it.
        home: The home that it is of.
        made_at: When it was begun, in UTC.
        elsewhere: What belongs to the home and is not in the backup, in sentences.
        key: Fingerprint of the key of pseudonyms that the home needs; None where it needs none.
        files: Its files, by path.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    format: int
    bcd: str
    home: str
    made_at: datetime
    elsewhere: list[str]
    key: str | None
    files: list[BackupFile]

    @property
    def name(self) -> str:
        """What it is called: when it was begun."""
        return f"{self.made_at.astimezone(UTC):%Y-%m-%dT%H-%M-%S.%fZ}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class BackupFolder:
    """A folder of backups.

    Attributes:
        root: The folder.
    """

    root: Path

    def begin(self) -> None:
        """Makes the folder where it is not there.

        Raises:
            BcdError: It holds something else.
        """
        objects = self.root / "objects"
        if self.root.is_dir() and not objects.is_dir() and any(self.root.iterdir()):
            raise BcdError(f"{self.root} holds something that is no backup.", "Name an empty folder, or a new one.")
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)  # patients' pixels
        objects.mkdir(exist_ok=True)

    def names(self) -> list[str]:
        """Returns the names of the backups, oldest first."""
        return sorted(path.stem for path in (self.root / "backups").glob("[!.]*.json"))

    def read(self, name: str | None = None) -> BackupManifest:
        """Reads a backup; by default the last.

        Raises:
            BcdError: There is none, or its manifest is damaged or of a newer bcd.
        """
        names = self.names()
        if not names:
            raise NotFoundError(f"No backup is complete in {self.root}.", "Name a folder that `bcd backup` wrote.")
        if name is not None and name not in names:
            raise NotFoundError(f"{self.root} has no backup {name}.", f"Name one of them: {', '.join(names)}.")
        path = self.root / "backups" / f"{name or names[-1]}.json"
        try:
            manifest = BackupManifest.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise DamagedError(
                f"The manifest {path} is damaged ({error.error_count()} faults), or a newer bcd made it.",
                "Install that version, or move the manifest away; `bcd restore --backup` takes an earlier backup.",
            ) from error
        if manifest.format > FORMAT:
            raise BcdError(
                f"bcd {manifest.bcd} made the backup {path}.", "Install that version of bcd, or a newer one."
            )
        return manifest

    def write(self, manifest: BackupManifest) -> None:
        """Completes a backup."""
        with whole_file(self.root / "backups" / f"{manifest.name}.json") as partial:
            partial.write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")

    def place(self, digest: str) -> Path:
        """Returns where an object lies."""
        return self.root / "objects" / digest[:2] / digest

    def holds(self, digest: str, size: int) -> bool:
        """Whether an object is there in its full size."""
        try:
            return self.place(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def add(self, source: Path, partial: Path, advance: Advance) -> tuple[str, int, bool]:
        """Keeps the bytes of a file.

        Args:
            source: The file.
            partial: A temporary path on the folder's disk.
            advance: Is told how many bytes were read.

        Returns:
            The hash, the size, and whether the object is new.
        """
        size = source.stat().st_size
        digest = _hash_file(source, advance)
        if self.holds(digest, size):
            return digest, size, False
        # Hashed again: whoever writes the file meanwhile changes what is kept, and never what it is called.
        digest = copy_into_backup(source, partial)
        size = partial.stat().st_size
        place = self.place(digest)
        if not place.parent.exists():
            place.parent.mkdir()
            flush_file(place.parent.parent)
        keep_file(partial, place)
        return digest, size, True


def copy_into_backup(source: Path, target: Path, advance: Advance = lambda _bytes: None) -> str:
    """Copies a file, tells `advance` how many bytes that were, and returns their sha256 in hex."""
    digest = hashlib.sha256()
    with target.open("wb") as writer:
        for chunk in _read_chunks(source):
            digest.update(chunk)
            writer.write(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _hash_file(path: Path, advance: Advance) -> str:
    digest = hashlib.sha256()
    for chunk in _read_chunks(path):
        digest.update(chunk)
        advance(len(chunk))
    return digest.hexdigest()


def _read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
