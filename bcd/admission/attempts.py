"""Attempts to admit a delivery of the inbox, counted before they begin, so that no delivery can stop the inbox.

A delivery that kills the process or fills the memory would do so at every run. After three such ends it is not
opened again; what the machine was short of otherwise, and what a person stopped, does not count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from bcd.admission.machine import ran_out_of_memory
from bcd.admission.received import is_waiting
from bcd.admission.rules import DeliveryError
from bcd.errors import BcdError, UnavailableError
from bcd.patches import Hospital
from bcd.progress import say
from bcd.store.attempts import begin_attempt, count_attempts, forget_attempt, forget_attempts
from bcd.store.catalog import patiently
from bcd.store.store import Store

MOST_ATTEMPTS = 3


@contextmanager
def one_attempt(store: Store, path: Path, hospital: Hospital, *, title: str) -> Iterator[None]:
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
    ended = patiently(lambda: count_attempts(store, delivery))
    if ended >= MOST_ATTEMPTS:
        patiently(lambda: forget_attempts(store, delivery))
        raise DeliveryError(
            "suspected", f"{title} ended {ended} attempts to admit it: each was killed, or ran out of memory."
        )
    if ended:
        say(f"{ended} of {MOST_ATTEMPTS} attempts to admit {title} were killed, or ran out of memory.")
    number = patiently(lambda: begin_attempt(store, delivery))
    try:
        yield
    except BaseException as error:
        is_over = isinstance(error, Exception) and not isinstance(error, UnavailableError)
        if not ran_out_of_memory(error):
            _forget(lambda: forget_attempts(store, delivery) if is_over else forget_attempt(store, number))
        raise
    _forget(lambda: forget_attempts(store, delivery))


def _forget(forget: Callable[[], None]) -> None:
    """Forgets attempts, unless the database is what failed: what became of the delivery matters more."""
    try:
        forget()
    except (BcdError, OSError, sa.exc.SQLAlchemyError) as error:
        say(f"An attempt stays counted, because the catalog cannot be written ({type(error).__name__}).")
