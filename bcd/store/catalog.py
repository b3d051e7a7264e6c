"""The catalog: SQL that knows every batch, patient, split, refusal, gate decision and score.

SQLite in WAL mode under BCD_HOME, or the PostgreSQL that `catalog_url` names. Opening it brings its schema up to
date, so that nothing downstream meets a half-made table. On both databases writers follow one another: a transaction
that writes sees all that was written before it began.

Examples:
    >>> catalog = open_catalog(load_settings())  # doctest: +SKIP
    >>> with catalog.engine.connect() as connection:  # doctest: +SKIP
    ...     connection.execute(sa.select(sa.func.count()).select_from(tables.patches)).scalar_one()
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from bcd.errors import BcdError, UnavailableError
from bcd.files import lock
from bcd.progress import say
from bcd.settings import Settings

SCHEMA = "0007"
"""The revision of `bcd.store.migrations` that this code works with."""

BUSY_SECONDS = 60
"""How long a writer of SQLite waits for another process's transaction."""

PATIENCE_SECONDS = 30.0
"""How long a database may be away before what needs it gives up."""

# SQLSTATE of PostgreSQL going down, coming up, or full of connections; a lost connection has none at all.
_AWAY = ("08", "57P01", "57P02", "57P03", "53300")

# SQLSTATE and SQLite's codes of a full disk, a fault of it, no permission, and a lock that somebody else keeps.
_UNWRITABLE = ("25006", "53100", "58030")
_SQLITE_UNWRITABLE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
)

_NEVER_THERE = ("authentication failed", "does not exist", "no pg_hba.conf entry", "translate host name")

T = TypeVar("T")


@dataclass(frozen=True)
class Catalog:
    """An open catalog.

    Attributes:
        engine: Connects to the database; `engine.connect()` to read, `write()` to write.
    """

    engine: sa.Engine

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Opens one transaction that writes: all of the block happens, or nothing of it; writers take turns."""
        with self.engine.connect().execution_options(bcd_write=True) as connection, connection.begin():
            if _is_postgresql(self.engine):  # SQLite's BEGIN IMMEDIATE does the same
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_lock_number("write"))))
            yield connection

    @contextmanager
    def lock(self, name: str) -> Iterator[Callable[[], None]]:
        """Lets one process at a time into the block; whoever dies in it lets the next one in.

        Not to be entered inside `write()`, nor twice by the same thread.

        Args:
            name: What is locked, as in "admission".

        Yields:
            A function that raises OperationalError if the lock was lost, which happens when PostgreSQL goes away.
            Called inside `write()`, it makes sure that what is written was read under the lock.
        """
        if not _is_postgresql(self.engine):
            with lock(_lock_folder(self.engine) / f".{name}.lock"):
                yield lambda: None
            return
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.detach()  # closed with the block, which ends the session and its lock
            connection.execute(sa.select(sa.func.pg_advisory_lock(_lock_number(name))))
            # Whoever held the lock before may have lost it in a transaction: that one must be over, either way.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_lock_number("write"))))
            connection.commit()

            def confirm() -> None:
                connection.execute(sa.text("SELECT 1"))
                connection.commit()

            yield confirm


def open_catalog(settings: Settings) -> Catalog:
    """Opens the catalog, making it or bringing its schema up to date where needed.

    Raises:
        BcdError: The home cannot be written, the database cannot be reached, or a newer bcd made the catalog.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        catalog = Catalog(_connect(settings.catalog))
        patiently(lambda: _migrate(catalog))
    except (OSError, sa.exc.ArgumentError, sa.exc.OperationalError) as error:
        raise UnavailableError(
            f"The catalog {engine_name(settings.catalog)} cannot be opened: {_reason(error)}.",
            "Check that BCD_HOME can be written and that BCD_CATALOG_URL is right.",
        ) from error
    return catalog


def patiently(action: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """Runs an action that may be repeated, again and again while the database is away.

    Args:
        action: What to do; doing it twice must be the same as once.
        seconds: How long to be patient.

    Raises:
        UnavailableError: The database stayed away, is locked or full, or cannot be written.
    """
    deadline = None  # counted from when it is missed first: the action itself may take long
    pause = 0.1
    while True:
        try:
            return action()
        except sa.exc.DBAPIError as error:
            if _is_unwritable(error):
                raise UnavailableError(
                    f"The catalog cannot be written ({_reason(error)}).",
                    "Make room, fix its permissions or end what locks it, and run the same command again:"
                    " nothing is half done.",
                ) from error
            if not _is_away(error):
                raise
            deadline = deadline or time.monotonic() + seconds
            if time.monotonic() + pause > deadline:
                raise UnavailableError(
                    f"The database has been away for {seconds:.0f} s ({_reason(error)}).",
                    "Bring it back and run the same command again: nothing is half done.",
                ) from error
        if pause == 0.1:
            say("The database is away; trying again.")
        time.sleep(pause)
        pause = min(2 * pause, 2.0)


def engine_name(url: str) -> str:
    """Returns a database URL without its password, for messages."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "named by BCD_CATALOG_URL"


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", error)).split()).rstrip(".")


def _is_away(error: sa.exc.DBAPIError) -> bool:
    """Whether an error says that the database is not there, rather than what is wrong with a statement."""
    if error.connection_invalidated:
        return True
    if not isinstance(error, sa.exc.OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", "of SQLite")
    if state is None:  # psycopg could not connect
        return not any(reason in str(error.orig) for reason in _NEVER_THERE)
    return state.startswith(_AWAY)


def _is_unwritable(error: sa.exc.DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # the rest of it says more than is needed
    return code in _SQLITE_UNWRITABLE or getattr(error.orig, "sqlstate", "") in _UNWRITABLE


def _is_postgresql(engine: sa.Engine) -> bool:
    return engine.dialect.name == "postgresql"


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"bcd {name}".encode()).digest()[:8], signed=True)


def _lock_folder(engine: sa.Engine) -> Path:
    database = engine.url.database
    if not database or database == ":memory:":
        raise BcdError("A catalog in memory cannot be locked.", "Keep it in a file.")
    return Path(database).absolute().parent / ".locks"


def _connect(url: str) -> sa.Engine:
    address = sa.make_url(url)
    kind = address.get_backend_name()
    if kind == "sqlite":
        engine = sa.create_engine(address, connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    if kind not in {"postgresql", "postgres"}:
        raise BcdError(
            f"The catalog {engine_name(url)} is of a kind that bcd does not know.",
            "BCD_CATALOG_URL is empty (SQLite in BCD_HOME) or postgresql://USER:PASSWORD@HOST/DATABASE.",
        )
    try:
        return sa.create_engine(address.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise BcdError(
            f"The catalog {engine_name(url)} needs psycopg, which is not installed.",
            "Run `pip install 'bcd[postgres]'`.",
        ) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, schema changes included
    for pragma in ("journal_mode=WAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer locks at once: SQLite does not wait when a reader turns writer behind another one's back.
    writes = connection.get_execution_options().get("bcd_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(catalog: Catalog) -> None:
    with catalog.lock("schema"):  # before the first connection, which turns a new SQLite file to WAL
        found = _schema_of(catalog)
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
        with catalog.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, SCHEMA)


def _schema_of(catalog: Catalog) -> str | None:
    with catalog.engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
