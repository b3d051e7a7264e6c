"""Whether a retraining is due: the catalog decides, so that an event that was lost delays it and no more.

Examples:
        due = find_due(store)
        due.is_due, due.sentence
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bcd.errors import DamagedError, NotFoundError
from bcd.formats import format_count
from bcd.retraining.options import RetrainOptions
from bcd.snapshots.freeze import find_snapshot
from bcd.snapshots.manifest import read_manifest
from bcd.snapshots.options import SplitOptions
from bcd.snapshots.rows import list_freezable_patients
from bcd.store.decisions import Decision, list_stored_decisions
from bcd.store.store import Store


@dataclass(frozen=True)
class Due:
    """Whether a retraining is due, and why.

    Attributes:
        is_due: Whether it is.
        new_patients: Labelled patients that the last retraining did not have.
        hospitals: Of how many hospitals they are.
        sentence: What to tell a person.
    """

    is_due: bool
    new_patients: int
    hospitals: int
    sentence: str


def find_due(store: Store, splits: SplitOptions | None = None, now: datetime | None = None) -> Due:
    """Compares the labelled patients of the catalog with those of the last retraining that reached the gate.

    A retraining that died before the gate does not count, so that its patients are new still.

    Args:
        store: The open store.
        splits: How patients are split; None: as bcd.toml says. Retrainings under another protocol do not count.
        now: The time; None: the clock's.
    """
    options = store.settings.options("retrain", RetrainOptions)
    protocol = (splits or store.settings.options("splits", SplitOptions)).recorded_as
    last, known = _find_last(store, protocol)
    named = list_freezable_patients(store, protocol) - known
    new, hospitals = len(named), len({name.partition("/")[0] for name in named})
    since = f"since the retraining of {last.decided_at:%Y-%m-%d}" if last else "and no retraining yet"
    waits = timedelta() if last is None else (now or datetime.now(UTC)) - last.decided_at
    counted = f"{format_count(new, 'new labelled patient')} {since}"
    if new >= options.min_new_patients:
        return Due(True, new, hospitals, f"{counted}: a retraining is due.")
    if new and waits >= timedelta(days=options.max_days):
        return Due(True, new, hospitals, f"{counted}, {waits.days:,} days ago: a retraining is due.")
    wanted = f"it begins at {options.min_new_patients:,}"
    if new and last:
        wanted += f", or on {last.decided_at + timedelta(days=options.max_days):%Y-%m-%d}"
    return Due(False, new, hospitals, f"{counted}: no retraining is due; {wanted}.")


def _find_last(store: Store, protocol: str) -> tuple[Decision | None, set[str]]:
    """Returns the gate's last decision under a protocol, with the patients ("hospital/patient") of its snapshot."""
    for decision in reversed([one for one in list_stored_decisions(store) if one.kind == "gate"]):
        try:
            manifest = read_manifest(store.settings, find_snapshot(store.settings, decision.snapshot))
        except (NotFoundError, DamagedError):  # whom it had is not known, and `bcd status` still answers
            continue
        if manifest.protocol == protocol:
            return decision, set(manifest.by_patient)
    return None, set()
