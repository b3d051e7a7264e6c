"""Attempts to admit a delivery, each entered before it begins: one that kills its process is counted as well.

Examples:
    >>> number = begin_attempt(catalog, key)  # doctest: +SKIP
    >>> count_attempts(catalog, key)  # doctest: +SKIP
    1
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from bcd.store import tables
from bcd.store.catalog import Catalog

_ATTEMPTS = tables.attempts.c


def count_attempts(catalog: Catalog, delivery: str) -> int:
    """Returns how many attempts to admit a delivery were begun and not forgotten."""
    query = sa.select(sa.func.count()).where(_ATTEMPTS.delivery == delivery)
    with catalog.engine.connect() as connection:
        return int(connection.scalar(query) or 0)


def begin_attempt(catalog: Catalog, delivery: str) -> int:
    """Enters an attempt to admit a delivery and returns its number.

    Args:
        catalog: Where to.
        delivery: What the waiting delivery is known by, 64 characters at most.
    """
    insert = sa.insert(tables.attempts).values(delivery=delivery, started_at=datetime.now(UTC))
    with catalog.write() as connection:
        return int(connection.execute(insert.returning(_ATTEMPTS.number)).scalar_one())


def forget_attempt(catalog: Catalog, number: int) -> None:
    """Forgets one attempt, which ended without a fault of the delivery."""
    with catalog.write() as connection:
        connection.execute(sa.delete(tables.attempts).where(_ATTEMPTS.number == number))


def forget_attempts(catalog: Catalog, delivery: str) -> None:
    """Forgets all attempts to admit a delivery, of which is known now what became of it."""
    with catalog.write() as connection:
        connection.execute(sa.delete(tables.attempts).where(_ATTEMPTS.delivery == delivery))
