"""The open store: all that is kept in one BCD_HOME, and the catalog that knows every batch, patient, split and score.

Opening it makes the catalog, or refuses one of another version, so that nothing downstream meets a half-made table.

Examples:
    >>> with open_store(load_settings()) as store, store.read() as connection:  # doctest: +SKIP
    ...     connection.execute(sa.select(sa.func.count()).select_from(tables.patches)).scalar_one()
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from bcd.errors import BcdError, UnavailableError
from bcd.files import lock_file
from bcd.settings import Settings
from bcd.store.catalog import connect, database_reason, is_postgresql, name_catalog, retry_while_database_away
from bcd.store.schemas import UPGRADE, Schema, read_revision, sync_url

SCHEMA = "0011"
"""The revision of `bcd.store.migrations` that this code works with."""

RowT = TypeVar("RowT", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Store:
    """An open store; a context manager that closes its connections.

    Attributes:
        settings: Where things live.
        engine: Connects to the catalog; `read()` and `write()` do.
    """

    settings: Settings
    engine: sa.Engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()

    def read(self) -> sa.Connection:
        """Connects to the catalog, to read from it; a context manager."""
        return self.engine.connect()

    def rows(self, query: sa.Select[RowT]) -> Sequence[sa.Row[RowT]]:
        """Returns what a query finds in the catalog."""
        with self.read() as connection:
            return connection.execute(query).all()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Opens one transaction that writes: all of the block happens, or nothing of it; writers take turns."""
        with self.engine.connect().execution_options(bcd_write=True) as connection, connection.begin():
            if is_postgresql(self.engine):  # SQLite's BEGIN IMMEDIATE does the same
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
        if not is_postgresql(self.engine):
            with lock_file(_lock_folder(self.engine) / f".{name}.lock"):
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


def open_store(settings: Settings, *, upgrade: bool = False) -> Store:
    """Opens the store, making its catalog where there is none.

    Args:
        settings: Where things live.
        upgrade: Whether a catalog of an earlier bcd is brought up to date.

    Raises:
        BcdError: The home cannot be written, the database cannot be reached, or another bcd made the catalog.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        store = Store(settings, connect(settings.catalog))
        try:
            retry_while_database_away(lambda: _make_ready(store, upgrade=upgrade))
        except BaseException:
            store.engine.dispose()  # a connection that is left would keep `bcd upgrade` out
            raise
    except (OSError, sa.exc.ArgumentError, sa.exc.OperationalError) as error:
        raise UnavailableError(
            f"The catalog {name_catalog(settings.catalog)} cannot be opened: {database_reason(error)}.",
            "Check that BCD_HOME can be written and that BCD_CATALOG_URL is right.",
        ) from error
    return store


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"bcd {name}".encode()).digest()[:8], signed=True)


def _lock_folder(engine: sa.Engine) -> Path:
    database = engine.url.database
    if not database or database == ":memory:":
        raise BcdError("A catalog in memory cannot be locked.", "Keep it in a file.")
    return Path(database).absolute().parent / ".locks"


def read_catalog_schema(settings: Settings) -> Schema:
    """Reads which schema the catalog of a home has, and makes none.

    Raises:
        BcdError: A newer bcd made it.
    """
    return _know(read_revision(sync_url(settings.catalog)))


def _know(found: str | None) -> Schema:
    if found is not None and found > SCHEMA:
        raise BcdError(
            f"The catalog has schema {found}, which this version of bcd does not know.",
            "Install the version of bcd that made it, or name another BCD_HOME.",
        )
    return Schema(found, SCHEMA)


def _make_ready(store: Store, *, upgrade: bool) -> None:
    with store.lock("schema"):  # before the first connection, which turns a new SQLite file to WAL
        schema = _know(_schema_of(store))
        if schema.found == SCHEMA:
            return
        if schema.is_older and not upgrade:
            raise BcdError(
                f"The catalog has schema {schema.found} of an earlier bcd; this one needs {SCHEMA}.", UPGRADE
            )
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", "bcd.store:migrations")
        with store.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, SCHEMA)


def _schema_of(store: Store) -> str | None:
    with store.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
