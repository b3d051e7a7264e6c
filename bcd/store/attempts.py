"""Attempts to admit a delivery, each entered before it begins: one that kills its process is counted as well.

Examples:
    >>> number = begin_attempt(store, key)  # doctest: +SKIP
    >>> count_attempts(store, key)  # doctest: +SKIP
    1
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from bcd.store import tables
from bcd.store.store import Store

_ATTEMPTS = tables.attempts.c


def count_attempts(store: Store, delivery: str) -> int:
    """Returns how many attempts to admit a delivery were begun and not forgotten."""
    query = sa.select(sa.func.count()).where(_ATTEMPTS.delivery == delivery)
    with store.read() as connection:
        return int(connection.scalar(query) or 0)


def begin_attempt(store: Store, delivery: str) -> int:
    """Enters an attempt to admit a delivery and returns its number.

    Args:
        store: Where to.
        delivery: What the waiting delivery is known by, 64 characters at most.
    """
    insert = sa.insert(tables.attempts).values(delivery=delivery, started_at=datetime.now(UTC))
    with store.write() as connection:
        return int(connection.execute(insert.returning(_ATTEMPTS.number)).scalar_one())


def forget_attempt(store: Store, number: int) -> None:
    """Forgets one attempt, which ended without a fault of the delivery."""
    with store.write() as connection:
        connection.execute(sa.delete(tables.attempts).where(_ATTEMPTS.number == number))


def forget_attempts(store: Store, delivery: str) -> None:
    """Forgets all attempts to admit a delivery, of which is known now what became of it."""
    with store.write() as connection:
        connection.execute(sa.delete(tables.attempts).where(_ATTEMPTS.delivery == delivery))
