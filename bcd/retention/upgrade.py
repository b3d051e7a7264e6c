"""Brings the databases of a home up to date: the catalog, and those of MLflow, Optuna and Prefect.

A copy of every database that is older is kept first, in `upgrades/TIME` of the home. The catalog is migrated in one
transaction. The libraries' own migrations are in several, so that a killed one would leave a database that no
version knows: one in SQLite is migrated as a copy, which takes the place of the original when it is whole. Killed
anywhere and run again, the upgrade goes on with the copies that it kept, and ends as if it had not been killed.

Examples:
    >>> upgraded = upgrade_home(settings)  # doctest: +SKIP
    >>> upgraded.kept  # doctest: +SKIP
    PosixPath('/home/lee/.bcd/upgrades/2026-11-30T06-31-00Z')
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import sqlalchemy as sa

from bcd.errors import BcdError, UnavailableError
from bcd.files import keep_file, partial_folder, whole_file
from bcd.progress import say_progress
from bcd.settings import Settings
from bcd.store.catalog import BUSY_SECONDS
from bcd.store.schemas import (
    Library,
    Schema,
    hide_url_password,
    prefect_schema_database,
    read_schema,
    sync_url,
)
from bcd.store.store import open_store, read_catalog_schema
from bcd.tracking.store import mlflow_database_url

Name = Literal["catalog", "mlflow", "optuna", "prefect"]

_DONE = "upgraded.json"  # in the folder of kept copies, once all of them are history


@dataclass(frozen=True)
class Database:
    """A database of a home.

    Attributes:
        name: What it is.
        url: Its SQLAlchemy URL.
        schema: Its revision, and the one that is needed.
    """

    name: Name
    url: str
    schema: Schema

    @property
    def file(self) -> Path | None:
        """Its file; None: it is on PostgreSQL."""
        made = sa.make_url(self.url)
        return Path(made.database or "") if made.get_backend_name() == "sqlite" else None

    def __str__(self) -> str:
        return f"{self.name} from {self.schema.found} to {self.schema.newest}"


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade did.

    Attributes:
        databases: What was brought up to date; none: all were.
        kept: Where the copies lie; None: there was nothing to copy.
    """

    databases: list[Database]
    kept: Path | None


def list_databases(settings: Settings) -> list[Database]:
    """Returns the databases of a home with their revisions; one that only a server knows is left out.

    Raises:
        BcdError: A newer version of bcd or of a library made one of them.
    """
    urls: dict[Library, str] = {"optuna": settings.study_storage, "prefect": prefect_schema_database(settings)}
    if (store := mlflow_database_url(settings)) is not None:
        urls["mlflow"] = store.render_as_string(hide_password=False)
    catalog = Database("catalog", settings.catalog, read_catalog_schema(settings))
    return [catalog, *(Database(name, url, read_schema(name, url)) for name, url in sorted(urls.items()))]


def upgrade_home(settings: Settings, *, dumped: bool = False) -> Upgraded:
    """Brings every older database of a home up to date; nothing may run on it meanwhile.

    Args:
        settings: The home.
        dumped: Whether somebody has copied the databases that are on PostgreSQL, of which bcd keeps no copy.

    Raises:
        BcdError: A newer version of bcd or of a library made a database, one on PostgreSQL was not copied, or a
            library's migration failed.
        UnavailableError: Another process has a database open, or the disk is full.
    """
    older = [each for each in list_databases(settings) if each.schema.is_older]
    elsewhere = [each for each in older if each.file is None]
    if elsewhere and not dumped:
        named = ", ".join(f"{each.name} ({hide_url_password(each.url)})" for each in elsewhere)
        raise BcdError(
            f"bcd keeps no copy of a database on PostgreSQL: {named}.",
            "Copy each with `pg_dump --format=custom`, then run `bcd upgrade --dumped`.",
        )
    try:
        if older:
            for each in list_databases(settings):
                _require_alone(each)
        kept = _keep_copies(settings, older)
        for each in older:
            say_progress(f"Upgrading {each}.")
            _migrate(settings, each)
        if kept is not None:
            with whole_file(kept / _DONE) as partial:
                partial.write_text(json.dumps({each.name: each.schema.newest for each in list_databases(settings)}))
    except (OSError, sqlite3.Error) as error:
        raise UnavailableError(
            f"The upgrade stopped: {error}.",
            "Make room, or end what uses the databases, and run `bcd upgrade` again: it goes on.",
        ) from error
    return Upgraded(older, kept)


def _keep_copies(settings: Settings, older: list[Database]) -> Path | None:
    """Returns the folder with a copy of each database as it was: that of an upgrade that was killed, or a new one."""
    folder = settings.home / "upgrades"
    begun = [each for each in sorted(folder.glob("[0-9]*")) if not (each / _DONE).exists()]
    copied = {each.name: each.file for each in older if each.file is not None}
    if not copied:
        return begun[-1] if begun else None
    kept = begun[-1] if begun else folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    for name, file in copied.items():
        if not (kept / f"{name}.db").exists():  # none is changed before all are there
            with whole_file(kept / f"{name}.db") as partial:
                _copy_database(file, partial)
    return kept


def _migrate(settings: Settings, database: Database) -> None:
    if database.name == "catalog":
        open_store(settings, upgrade=True).engine.dispose()
    elif database.file is None:
        _MIGRATE[database.name](sync_url(database.url).render_as_string(hide_password=False))
    else:
        with partial_folder(database.file.parent) as partial:
            copy, whole = partial / "copy.db", partial / "whole.db"
            _copy_database(database.file, copy)
            _MIGRATE[database.name](f"sqlite:///{copy}")
            _copy_database(copy, whole)  # without what the library still has in its log
            shutil.copymode(database.file, whole)
            keep_file(whole, database.file)


def _require_alone(database: Database) -> None:
    """Makes sure that nobody has a database open, and that all of it is in its file.

    Raises:
        sqlite3.OperationalError: Somebody has.
    """
    if database.file is None or not database.file.exists():
        return
    with closing(sqlite3.connect(database.file, timeout=1)) as connection:
        # Only who is alone may leave the mode of several; its log is then in the file, and gone.
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        connection.execute("BEGIN EXCLUSIVE")
        connection.rollback()


def _copy_database(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(source, timeout=BUSY_SECONDS)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)


def _migrate_mlflow(url: str) -> None:
    from mlflow.db import upgrade

    upgrade.callback(url)  # the command's own function: in a process list its argument would show a password


def _migrate_optuna(url: str) -> None:
    from optuna.storages import RDBStorage

    RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True).upgrade()


def _migrate_prefect(url: str) -> None:
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    made = sa.make_url(url)
    address = made.set(drivername=drivers[made.get_backend_name()]).render_as_string(hide_password=False)
    variables = {**os.environ, "PREFECT_SERVER_DATABASE_CONNECTION_URL": address}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BcdError(
            f"Prefect could not upgrade its database: {done.stderr.strip()[-1000:]}",
            "The copy of it is kept; restore it with the version of Prefect that made it.",
        )


_MIGRATE: Mapping[Name, Callable[[str], None]] = MappingProxyType(
    {"mlflow": _migrate_mlflow, "optuna": _migrate_optuna, "prefect": _migrate_prefect}
)
