"""The catalog: SQL that knows every batch, patient, split, refusal, gate decision and score.

SQLite in WAL mode under BCD_HOME, or whatever `catalog_url` names. Opening it brings its schema up to date,
so that nothing downstream meets a half-made table.

Example:
    >>> catalog = open_catalog(load_settings())  # doctest: +SKIP
    >>> with catalog.engine.connect() as connection:  # doctest: +SKIP
    ...     connection.execute(sa.select(sa.func.count()).select_from(tables.patches)).scalar_one()
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.settings import Settings

SCHEMA = "0002"
"""The revision of `bcd.store.migrations` that this code works with."""

BUSY_SECONDS = 60
"""How long a writer waits for another process's transaction."""


@dataclass(frozen=True)
class Catalog:
    """An open catalog.

    Attributes:
        engine: Connects to the database; `engine.connect()` to read, `write()` to write.
    """

    engine: sa.Engine

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Opens one transaction that writes: all of the block happens, or nothing of it."""
        with self.engine.connect().execution_options(bcd_write=True) as connection, connection.begin():
            yield connection


def open_catalog(settings: Settings) -> Catalog:
    """Opens the catalog, making it or bringing its schema up to date where needed.

    Raises:
        BcdError: The home cannot be written, or a newer bcd made the catalog.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        engine = _connect(settings.catalog)
        with file_lock(settings.home / ".catalog.lock"):
            _migrate(engine)
    except (OSError, sa.exc.ArgumentError, sa.exc.OperationalError) as error:
        reason = getattr(error, "orig", error)
        raise BcdError(
            f"The catalog {engine_name(settings.catalog)} cannot be opened: {reason}.",
            "Check that BCD_HOME can be written and that BCD_CATALOG_URL is right.",
        ) from error
    return Catalog(engine)


def engine_name(url: str) -> str:
    """Returns a database URL without its password, for messages."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "named by BCD_CATALOG_URL"


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds `path` locked against other processes of this machine for the duration of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _connect(url: str) -> sa.Engine:
    if sa.make_url(url).get_backend_name() != "sqlite":
        return sa.create_engine(url, pool_pre_ping=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, schema changes included
    for pragma in ("journal_mode=WAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer locks at once: SQLite does not wait when a reader turns writer behind another one's back.
    writes = connection.get_execution_options().get("bcd_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        found = _schema_of(connection)
    if found == SCHEMA:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "bcd.store:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise BcdError(
            f"The catalog has schema {found}, which this version of bcd does not know.",
            "Install the version of bcd that made it, or name another BCD_HOME.",
        )
    with Catalog(engine).write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, SCHEMA)


def _schema_of(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
