"""Attempts to admit a delivery of the inbox, counted before they begin, so that no delivery can stop the inbox.

A delivery that kills the process or fills the memory would do so at every run. After three such ends it is not
opened again; what the machine was short of otherwise, and what a person stopped, does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from bcd.admission.machine import ran_out_of_memory
from bcd.admission.received import is_waiting
from bcd.admission.rules import DeliveryError
from bcd.errors import BcdError, UnavailableError
from bcd.patches import Hospital
from bcd.progress import say_progress
from bcd.store import tables
from bcd.store.catalog import retry_while_database_away
from bcd.store.store import Store

MOST_ATTEMPTS = 3

_ATTEMPTS = tables.attempts.c


@contextmanager
def count_admission_attempt(store: Store, path: Path, hospital: Hospital, *, title: str) -> Iterator[None]:
    """Counts the block as an attempt to admit a delivery; one that lies outside the inbox is not counted.

    Args:
        store: Where attempts are counted.
        path: The delivery.
        hospital: Where it comes from.
        title: Its name as it may be seen.

    Raises:
        DeliveryError: It has ended three attempts; it is tried no more.
    """
    if not is_waiting(store.settings, path, hospital):
        yield
        return
    state = path.stat()
    # Another file of the same name, as of a hospital that handed it over again, is another delivery.
    known_by = f"{hospital}\0{title}\0{state.st_ino}\0{state.st_mtime_ns}"
    delivery = hashlib.sha256(known_by.encode("utf-8", "surrogatepass")).hexdigest()
    mine = _ATTEMPTS.delivery == delivery
    ended = retry_while_database_away(lambda: _count_attempts(store, mine))
    if ended >= MOST_ATTEMPTS:
        retry_while_database_away(lambda: _delete_attempts(store, mine))
        raise DeliveryError(
            "suspected", f"{title} ended {ended} attempts to admit it: each was killed, or ran out of memory."
        )
    if ended:
        say_progress(f"{ended} of {MOST_ATTEMPTS} attempts to admit {title} were killed, or ran out of memory.")
    number = retry_while_database_away(lambda: _enter_attempt(store, delivery))
    try:
        yield
    except BaseException as error:
        is_over = isinstance(error, Exception) and not isinstance(error, UnavailableError)
        if not ran_out_of_memory(error):
            _forget_attempts(store, mine if is_over else _ATTEMPTS.number == number)
        raise
    _forget_attempts(store, mine)


def _forget_attempts(store: Store, which: sa.ColumnElement[bool]) -> None:
    """Forgets attempts, unless the database is what failed: what became of the delivery matters more."""
    try:
        _delete_attempts(store, which)
    except (BcdError, OSError, sa.exc.SQLAlchemyError) as error:
        say_progress(f"An attempt stays counted, because the catalog cannot be written ({type(error).__name__}).")


def _count_attempts(store: Store, which: sa.ColumnElement[bool]) -> int:
    """Returns how many attempts were begun and not forgotten."""
    query = sa.select(sa.func.count()).where(which)
    with store.read() as connection:
        return int(connection.scalar(query) or 0)


def _enter_attempt(store: Store, delivery: str) -> int:
    """Enters an attempt to admit a delivery and returns its number."""
    insert = sa.insert(tables.attempts).values(delivery=delivery, started_at=datetime.now(UTC))
    with store.write() as connection:
        return int(connection.execute(insert.returning(_ATTEMPTS.number)).scalar_one())


def _delete_attempts(store: Store, which: sa.ColumnElement[bool]) -> None:
    with store.write() as connection:
        connection.execute(sa.delete(tables.attempts).where(which))
