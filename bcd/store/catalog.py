"""The catalog's database: SQLite in WAL mode under BCD_HOME, or the PostgreSQL that `catalog_url` names.

On both, writers follow one another: a transaction that writes sees all that was written before it began.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from bcd.errors import BcdError, UnavailableError
from bcd.progress import say_progress

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


def retry_while_database_away(action: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
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
                    f"The catalog cannot be written ({database_reason(error)}).",
                    "Make room, fix its permissions or end what locks it, and run the same command again:"
                    " nothing is half done.",
                ) from error
            if not _is_away(error):
                raise
            deadline = deadline or time.monotonic() + seconds
            if time.monotonic() + pause > deadline:
                raise UnavailableError(
                    f"The database has been away for {seconds:.0f} s ({database_reason(error)}).",
                    "Bring it back and run the same command again: nothing is half done.",
                ) from error
        if pause == 0.1:
            say_progress("The database is away; trying again.")
        time.sleep(pause)
        pause = min(2 * pause, 2.0)


def name_catalog(url: str) -> str:
    """Returns a database URL without its password, for messages."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return "named by BCD_CATALOG_URL"


def database_reason(error: Exception) -> str:
    """Returns what the database said, in one line."""
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


def is_postgresql(engine: sa.Engine) -> bool:
    """Whether the catalog is on PostgreSQL, rather than SQLite."""
    return engine.dialect.name == "postgresql"


def connect(url: str) -> sa.Engine:
    """Returns the engine of the catalog at `url`, which connects when it is first used.

    Raises:
        BcdError: bcd knows no such database, or its driver is not installed.
    """
    address = sa.make_url(url)
    kind = address.get_backend_name()
    if kind == "sqlite":
        engine = sa.create_engine(address, connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    if kind not in {"postgresql", "postgres"}:
        raise BcdError(
            f"The catalog {name_catalog(url)} is of a kind that bcd does not know.",
            "BCD_CATALOG_URL is empty (SQLite in BCD_HOME) or postgresql://USER:PASSWORD@HOST/DATABASE.",
        )
    try:
        return sa.create_engine(address.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise BcdError(
            f"The catalog {name_catalog(url)} needs psycopg, which is not installed.",
            "Run `pip install 'bcd[postgres]'`.",
        ) from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, schema changes included
    # 16 MiB of pages: with SQLite's own 2, a batch of 277,524 patches takes 1.6 times as long to enter.
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "cache_size=-16384"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer locks at once: SQLite does not wait when a reader turns writer behind another one's back.
    writes = connection.get_execution_options().get("bcd_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
