"""Deliveries of the inbox that no run will ever take, and what a person can do about each.

Examples:
    >>> for stuck in find_stuck(store):  # doctest: +SKIP
    ...     print(stuck)
    2 deliveries wait in inbox/west: hospital west is not declared. Run `bcd hospital declare west …`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bcd.admission.delivery import is_hidden
from bcd.errors import BcdError
from bcd.settings import Settings
from bcd.store.hospitals import find_declared_hospital
from bcd.store.store import Store


@dataclass(frozen=True)
class Stuck:
    """Deliveries that wait for a person.

    Attributes:
        deliveries: How many.
        what: Where they lie and why they wait.
        fix: What takes them.
    """

    deliveries: int
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what} {self.fix}"


def find_stuck(store: Store) -> list[Stuck]:
    """Finds deliveries of hospitals that are not declared, and those that lie in no hospital's folder.

    Files are not named: what somebody put beside the folders may be called after a patient.
    """
    if not store.settings.inbox.is_dir():
        return []
    stuck = []
    beside = [path for path in store.settings.inbox.iterdir() if not path.is_dir() and not is_hidden(path)]
    if beside:
        stuck.append(
            Stuck(
                len(beside),
                f"{_count_deliveries(len(beside))} in {store.settings.inbox} itself, in no hospital's folder.",
                f"Move each into {store.settings.inbox}/HOSPITAL/.",
            )
        )
    for folder in sorted(path for path in store.settings.inbox.iterdir() if path.is_dir() and not is_hidden(path)):
        waiting = _count_waiting_paths(folder)
        if not waiting:
            continue
        try:
            find_declared_hospital(store, folder.name)
        except BcdError as error:
            stuck.append(Stuck(waiting, f"{_count_deliveries(waiting)} in {folder}. {error.what}", error.fix))
    return stuck


def count_set_aside(settings: Settings) -> int:
    """Counts deliveries that were refused as a whole and lie in `set-aside/` for somebody to look at."""
    reasons = settings.set_aside.glob("*/*.txt") if settings.set_aside.is_dir() else ()
    return sum(reason.with_suffix("").exists() for reason in reasons)


def _count_waiting_paths(folder: Path) -> int:
    try:
        return sum(not is_hidden(path) for path in folder.iterdir())
    except OSError:  # which the run that looks for deliveries says
        return 0


def _count_deliveries(deliveries: int) -> str:
    return f"{deliveries:,} {'delivery waits' if deliveries == 1 else 'deliveries wait'}"
