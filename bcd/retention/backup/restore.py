"""Restores a home from a backup, whole or not at all, and never over another one.

Every file is copied to a temporary folder beside the new home, its hash compared with the manifest's, and the folder
renamed when all of them are right. The home may have another path than it had: the first command that opens MLflow's
store rewrites the addresses in it (`bcd.tracking.moved`).

A backup from before a withdrawal still holds the patient. Withdrawals that a later backup in the same folder knows
are recorded in the restored catalog, so that no snapshot takes the patient and `bcd patient erase` removes the pixels
again.

Examples:
    >>> restored = restore_backup(Path("/backups/bcd"), Path("/data/bcd"))  # doctest: +SKIP
    >>> restored.manifest.home, restored.withdrawals  # doctest: +SKIP
    ('/home/lee/.bcd', 0)
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bcd.errors import BcdError, DamagedError, UnavailableError
from bcd.files import keep_folder, partial_folder
from bcd.formats import format_some
from bcd.progress import track_progress
from bcd.retention.backup.folder import BackupFile, BackupFolder, BackupManifest, copy_into_backup
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.store import Store, open_store
from bcd.store.withdrawals import list_withdrawals

_CATALOG = "catalog.db"
_NAMED = 5
_LINE = "\n     "


@dataclass(frozen=True)
class Restored:
    """A home that was restored.

    Attributes:
        manifest: What it was restored from.
        withdrawals: Number of withdrawals from after the backup that were recorded in it.
    """

    manifest: BackupManifest
    withdrawals: int


def restore_backup(source: Path, home: Path, *, name: str | None = None) -> Restored:
    """Restores a home.

    Args:
        source: The folder of backups.
        home: The new home; there is no such folder, or it is empty.
        name: The backup; None: the last.

    Raises:
        BcdError: The home holds something, there is no such backup, or an object is missing or damaged.
        UnavailableError: A file cannot be read or written.
    """
    folder, home = BackupFolder(source.expanduser().resolve()), home.expanduser().absolute()
    manifest = folder.read(name)
    _require_empty(home, folder)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        _require_room(home.parent, manifest.size)
        with partial_folder(home.parent) as partial:
            _copy_files(folder, manifest, partial)
            withdrawals = _apply_later_withdrawals(folder, manifest, partial)
            if home.exists():
                home.rmdir()  # empty, or an error: it is filled meanwhile, or a disk's own folder
            keep_folder(partial, home)
            if partial.exists():
                raise BcdError(f"Somebody made {home} meanwhile.", "Name another home.")
    except OSError as error:
        raise UnavailableError(
            f"The home {home} was not restored, at {error.filename or home}: {error.strerror or error}.",
            "Make room, fix the permissions or name another folder; nothing is half done.",
        ) from error
    return Restored(manifest, withdrawals)


def _require_empty(home: Path, folder: BackupFolder) -> None:
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise BcdError(
            f"{home} holds something already; a backup is restored into an empty home only.",
            "Name another one with --home, or move that one away.",
        )
    if home.resolve().is_relative_to(folder.root):
        raise BcdError(f"The home {home} lies in the folder of backups.", "Name another one with --home.")


def _require_room(parent: Path, needed: int) -> None:
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise UnavailableError(
            f"The backup holds {needed / 1e9:.1f} GB and {parent} has room for {free / 1e9:.1f} GB.",
            "Make room, or name a home on another disk.",
        )


def _copy_files(folder: BackupFolder, manifest: BackupManifest, home: Path) -> None:
    """Copies every file of a backup, and names those that are not what they were."""
    damaged: list[BackupFile] = []
    with track_progress("Restoring files", total=manifest.size) as advance:
        for file in manifest.files:
            path = home / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                digest = copy_into_backup(folder.place(file.sha256), path, advance)
            except FileNotFoundError:
                digest = "missing"
            if digest != file.sha256:
                damaged.append(file)
            else:
                os.utime(path, ns=(file.mtime_ns, file.mtime_ns))  # so that the next backup knows it
    if damaged:
        named = [f"{file.path}: {folder.place(file.sha256)}" for file in damaged]
        raise DamagedError(
            f"{len(damaged)} of {len(manifest.files):,} files of the backup are damaged or missing:{_LINE}"
            f"{format_some(named, _NAMED, between=_LINE)}",
            "Nothing was restored. Where the home is still there, delete these objects and run `bcd backup` again;"
            f" otherwise name an earlier backup with --backup: {', '.join(folder.names())}.",
        )


def _apply_later_withdrawals(folder: BackupFolder, manifest: BackupManifest, home: Path) -> int:
    """Records in the restored catalog who was withdrawn after its backup, and returns how many that were."""
    catalog = home / _CATALOG
    later = folder.names()[-1]
    if later == manifest.name or not catalog.exists():
        return 0
    newest = next((file for file in folder.read(later).files if file.path == _CATALOG), None)
    if newest is None:
        return 0
    copy = home / ".later.db"
    if copy_into_backup(folder.place(newest.sha256), copy) != newest.sha256:
        raise DamagedError(
            f"The catalog of the last backup, {folder.place(newest.sha256)}, is damaged: who was withdrawn since the"
            f" backup {manifest.name} is not known.",
            f"Move {folder.root}/backups/{later}.json away to restore without it.",
        )
    with _open_restored_catalog(home, copy) as later_store, _open_restored_catalog(home, catalog) as restored:
        known = {one.person for one in list_withdrawals(restored)}
        new = [one for one in list_withdrawals(later_store) if one.person not in known]
        with restored.write() as connection:
            for one in new:
                row = {"hospital": one.hospital, "patient": one.patient, **vars(one.sign_off)}
                connection.execute(sa.insert(tables.withdrawn).values(row))
    for left in home.glob(".later.db*"):
        left.unlink()
    return len(new)


def _open_restored_catalog(home: Path, catalog: Path) -> Store:
    """Opens a catalog of this or of an earlier schema."""
    return open_store(Settings(home=home, catalog_url=f"sqlite:///{catalog}"), upgrade=True)
