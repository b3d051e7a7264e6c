"""Makes a backup of a home, while whatever runs on it goes on.

What a database names is in place before the database names it: a batch before its transaction, a network before its
trial is told, a model's files before its version is registered, a patient's scores before the ledger's row. So the
databases are copied first and the files after them: every file that a copied database names is found, and what is
written later is named by none. What lies at `store_url` alone is copied from there, after the home's own files. Three
things make this whole:

- Databases are copied with SQLite's own backup, which reads between two transactions of whoever writes.
- Nobody promotes while they are copied, so that the catalog's decisions and the registry's aliases agree.
- Nothing is removed before the last file is copied: `bcd patient erase` waits, as the backup waits for it.

Files are renamed into place when they are whole, so that each is copied as it was or as it is. A file that is gone
when its turn comes was removed after all, and is left out.

Left out too is what can be made again (`cache/`), logs, locks, temporary names and what says which servers run; the
deliveries as they were handed over, unless they are asked for: what was admitted of them is in batches, what was
refused in the quarantine, and those of a hospital with raw identifiers name its patients. The key of pseudonyms goes
to a folder of its own, or nowhere.

Examples:
    >>> backup = make_backup(store, Path("/backups/bcd"))  # doctest: +SKIP
    >>> backup.new_files  # doctest: +SKIP
    12
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd import __version__
from bcd.errors import BcdError, UnavailableError
from bcd.files import keep_file, lock_file, partial_folder
from bcd.gate.promotion import LOCK as PROMOTION
from bcd.progress import Advance, track_progress
from bcd.retention import LOCK
from bcd.retention.backup.folder import FORMAT, BackupFile, BackupFolder, BackupManifest
from bcd.store.catalog import BUSY_SECONDS
from bcd.store.copies import follow_changes
from bcd.store.objects import list_objects
from bcd.store.pseudonyms import find_fingerprints, key_path
from bcd.store.schemas import prefect_schema_database
from bcd.tracking.store import mlflow_database_url

if TYPE_CHECKING:
    from bcd.settings import Settings
    from bcd.store.store import Store

_DELIVERIES = frozenset({"inbox", "received", "set-aside"})
_LEFT_OUT = frozenset({"cache", "logs", ".locks", "servers.json"})
"""Of the home's own folders and files."""

_LOCKS = frozenset({"lock", ".lock"})
_DATABASE = ".db"
_BESIDE_A_DATABASE = ("-wal", "-shm", "-journal")
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True)
class Backup:
    """A backup that is complete.

    Attributes:
        manifest: What it holds.
        new_files: Number of files whose bytes no earlier backup in the folder holds.
        new_bytes: Bytes of these.
    """

    manifest: BackupManifest
    new_files: int
    new_bytes: int


def make_backup(store: Store, to: Path, *, keys: Path | None = None, deliveries: bool = False) -> Backup:
    """Makes a backup, which copies what no earlier one in the same folder holds.

    Args:
        store: The open store.
        to: The folder of backups.
        keys: Where the key of pseudonyms is copied to; None: nowhere.
        deliveries: Whether the deliveries in `inbox/`, `received/` and `set-aside/` are copied too.

    Raises:
        BcdError: A folder lies inside another one, or holds something else.
        UnavailableError: A file cannot be read or written.
    """
    home, to = store.settings.home.resolve(), to.expanduser().resolve()
    key = key_path(store.settings)
    if to.is_relative_to(home) or home.is_relative_to(to):
        raise BcdError(f"The folder of backups {to} and the home {home} lie in one another.", "Name another folder.")
    folder = BackupFolder(to)
    try:
        folder.begin()
        if keys is not None:
            _copy_key(key, keys.expanduser().resolve(), apart_from=(home, to))
        with lock_file(to / ".lock"), partial_folder(to) as partial, store.lock(LOCK):
            return _Copier(store.settings, folder, partial / "copy", deliveries=deliveries).run(store)
    except OSError as error:
        raise UnavailableError(
            f"The backup stopped at {error.filename or to}: {error.strerror or error}.",
            "Make room or fix the permissions, and run the same command again: it goes on with what is copied.",
        ) from error


def _find_files(home: Path, *, deliveries: bool = False) -> tuple[list[Path], list[Path]]:
    """Returns the databases and the other files of a home that belong into a backup, each sorted."""
    left_out = _LEFT_OUT if deliveries else _LEFT_OUT | _DELIVERIES
    found = sorted(_walk_home(home, {home / name for name in left_out}))
    databases = [path for path in found if path.suffix == _DATABASE and _is_database(path)]
    copied = {f"{path}{suffix}" for path in databases for suffix in ("", *_BESIDE_A_DATABASE)}
    return databases, [path for path in found if str(path) not in copied]


def _walk_home(folder: Path, left_out: set[Path], above: frozenset[str] = frozenset()) -> Iterator[Path]:
    above |= {os.path.realpath(folder)}
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if path in left_out or entry.name.startswith(".partial-") or entry.name in _LOCKS:
                continue
            if entry.is_file():
                yield path
            elif entry.is_dir() and os.path.realpath(path) not in above:  # a link to a larger disk is followed
                try:
                    yield from _walk_home(path, left_out, above)
                except FileNotFoundError:
                    continue  # removed meanwhile


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except FileNotFoundError:
        return False


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class _Copier:
    """Copies one home into the folder, once."""

    def __init__(self, settings: Settings, folder: BackupFolder, partial: Path, *, deliveries: bool) -> None:
        self._settings = settings
        self._folder = folder
        self._partial = partial
        self._deliveries = deliveries
        self._known = {file.path: file for file in folder.read().files} if folder.names() else {}
        self._files: list[BackupFile] = []
        self._new: list[int] = []

    def run(self, store: Store) -> Backup:
        begun = datetime.now(UTC)
        home = self._settings.home
        if self._settings.store_url:
            follow_changes(self._settings)  # what was erased there must not be copied from here
        with store.lock(PROMOTION):
            databases, _ = _find_files(home)
            with track_progress("Copying databases", total=len(databases)) as advance:
                for path in databases:
                    self._copy_database(path)
                    advance(1)
        _, files = _find_files(home, deliveries=self._deliveries)
        with track_progress("Copying files that are new or changed", total=sum(map(_size_of, files))) as advance:
            for path in files:
                self._copy(path, advance)
        if self._settings.store_url:
            self._copy_from_store(begun)
        elsewhere = [*_databases_elsewhere(self._settings), *self._state_deliveries()]
        manifest = BackupManifest(
            format=FORMAT,
            bcd=__version__,
            home=str(home),
            made_at=begun,
            elsewhere=elsewhere,
            key=next(iter(find_fingerprints(store).values()), None),
            files=sorted(self._files, key=lambda file: file.path),
        )
        self._folder.write(manifest)
        return Backup(manifest, len(self._new), sum(self._new))

    def _copy_database(self, path: Path) -> None:
        snapshot = self._partial.with_name("database")
        changed = path.stat().st_mtime_ns
        # Not read-only: a database whose writer died may have to be recovered first.
        source = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)
        with closing(source), closing(sqlite3.connect(snapshot)) as target:
            source.backup(target)
        self._add(snapshot, path, changed, lambda _bytes: None)
        snapshot.unlink()

    def _copy(self, path: Path, advance: Advance) -> None:
        try:
            found = path.stat()
            before = self._known.get(self._name(path))
            is_known = before and (before.size, before.mtime_ns) == (found.st_size, found.st_mtime_ns)
            if before and is_known and self._folder.holds(before.sha256, before.size):
                self._files.append(before)
                advance(before.size)
                return
            self._add(path, path, found.st_mtime_ns, advance)
        except FileNotFoundError:
            if path.exists():
                raise

    def _copy_from_store(self, begun: datetime) -> None:
        """Adds what the bucket holds and the home does not; what an earlier backup holds is not fetched."""
        here = {file.path for file in self._files}
        missing = [each for each in list_objects(self._settings) if self._name(each.path) not in here]
        fetched = self._partial.with_name("fetched")
        with track_progress("Copying from the store", total=sum(each.file.size for each in missing)) as advance:
            for each in missing:
                changed = int(begun.timestamp() * 1e9)
                if self._folder.holds(each.file.sha256, each.file.size):
                    self._files.append(
                        BackupFile(path=self._name(each.path), mtime_ns=changed, **each.file.model_dump())
                    )
                else:
                    each.fetch(fetched)
                    self._add(fetched, each.path, changed, lambda _bytes: None)
                    fetched.unlink()
                advance(each.file.size)

    def _add(self, source: Path, path: Path, changed: int, advance: Advance) -> None:
        digest, size, is_new = self._folder.add(source, self._partial, advance)
        if is_new:
            self._new.append(size)
        self._files.append(BackupFile(path=self._name(path), sha256=digest, size=size, mtime_ns=changed))

    def _name(self, path: Path) -> str:
        return path.relative_to(self._settings.home).as_posix()

    def _state_deliveries(self) -> list[str]:
        if self._deliveries:
            return []
        held = [name for name in sorted(_DELIVERIES) if any((self._settings.home / name).glob("*/*"))]
        return [
            f"Deliveries as they were handed over, in {', '.join(held)}: `bcd backup --deliveries` takes them too."
        ] * bool(held)


def _databases_elsewhere(settings: Settings) -> list[str]:
    """Says in a sentence each which databases are not in the home, and how they are backed up."""
    mlflow = mlflow_database_url(settings)
    urls = {
        "catalog": sa.make_url(settings.catalog),
        "studies": sa.make_url(settings.study_storage),
        "prefect": sa.make_url(prefect_schema_database(settings)),
    } | ({"mlflow": mlflow} if mlflow is not None else {})
    told = [_state_database(settings, name, url) for name, url in urls.items()]
    if mlflow is None:
        server = settings.mlflow_url or os.environ.get("MLFLOW_TRACKING_URI")
        told.append(f"MLflow's runs and models are kept by the server {server}: back them up there.")
    return [sentence for sentence in told if sentence]


def _state_database(settings: Settings, name: str, url: sa.URL) -> str:
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        if path.resolve().is_relative_to(settings.home.resolve()) or not path.exists():
            return ""
        command = shlex.join(["sqlite3", str(path), f".backup '{name}.db'"])
    else:
        address = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
        command = shlex.join(["pg_dump", "--format=custom", f"--file={name}.dump", str(address)])
    return f"The database {name} is not in the home; before each backup: {command}"


def _copy_key(key: Path, to: Path, apart_from: tuple[Path, ...]) -> None:
    """Copies the key of pseudonyms, which nobody but its owner may read."""
    if any(to.is_relative_to(other) or other.is_relative_to(to) for other in apart_from):
        raise BcdError(
            f"The folder of keys {to} holds the data, or lies in it: who has both can try identifiers of patients.",
            "Name a folder on another disk.",
        )
    if not key.exists():
        return
    copy, text = to / key.name, key.read_bytes()
    if copy.exists() and copy.read_bytes() != text:
        raise BcdError(f"{copy} is another key.", "Name another folder: without its key no home can admit again.")
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, partial = tempfile.mkstemp(prefix=".partial-", dir=to)  # only the owner reads it
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    keep_file(Path(partial), copy)
