"""The versions in the registry with what became of each, and all decisions in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bcd.bundle.aliases import find_decided_version
from bcd.bundle.rows import VersionRow, read_registered_versions
from bcd.errors import NotFoundError
from bcd.patches import SnapshotId
from bcd.settings import Settings
from bcd.store.decisions import Decision, list_stored_decisions
from bcd.tracking.lookup import KEY_TAG, MODEL

if TYPE_CHECKING:
    from bcd.store.store import Store


@dataclass(frozen=True)
class VersionSummary:
    """One version of `bcd-idc`.

    Attributes:
        version: Its number.
        registered_at: When it was registered.
        aliases: `champion`, `previous`, `challenger`, `anchor`, where it holds them.
        verdict: PROMOTE, HOLD or REJECT; None: the gate has not decided on it.
        reasons: Why.
        snapshot: Id of the snapshot that it was trained on.
        protocol: How that snapshot was split.
        metrics: Headline metrics on the test split.
        description: One sentence about it.
        key: What it was registered for.
        run_id: The run that it comes from.
    """

    version: str
    registered_at: datetime
    aliases: list[str]
    verdict: str | None
    reasons: str
    snapshot: SnapshotId
    protocol: str
    metrics: dict[str, float]
    description: str
    key: str
    run_id: str

    @property
    def name(self) -> str:
        """How it is called everywhere, such as `bcd-idc/3`."""
        return f"{MODEL}/{self.version}"


@dataclass(frozen=True)
class Event:
    """One thing that happened to a version.

    Attributes:
        at: When, in UTC.
        version: The version, such as `bcd-idc/3`.
        what: `registered`, or the kind of the decision.
        verdict: PROMOTE, HOLD, REJECT or LOOK; empty where it was registered.
        against: The version that it was compared with or took the place of.
        by: Who decided: a person, or `the gate`.
        reason: That person's reason.
        why: The reasons, in sentences.
        is_gone: Whether that bundle is no longer in the registry, even if another one has its number.
    """

    at: datetime
    version: str
    what: str
    verdict: str
    against: str
    by: str
    reason: str
    why: list[str]
    is_gone: bool


def find_champion_version(settings: Settings) -> str | None:
    """Returns the champion's version; None if there is no champion."""
    return next((row.version for row in read_registered_versions(settings) if "champion" in row.aliases), None)


def list_versions_with_verdicts(settings: Settings) -> list[VersionSummary]:
    """Lists the versions, oldest first."""
    return [_summarise_version(row) for row in read_registered_versions(settings)]


def _summarise_version(row: VersionRow) -> VersionSummary:
    return VersionSummary(
        version=row.version,
        registered_at=row.registered_at,
        aliases=row.aliases,
        verdict=row.tags.get("bcd.verdict"),
        reasons=row.tags.get("bcd.reasons", ""),
        snapshot=SnapshotId(row.tags.get("bcd.snapshot", "")),
        protocol=row.tags.get("bcd.protocol", ""),
        metrics=row.metrics,
        description=row.description.partition("\n")[0],
        key=row.tags.get(KEY_TAG, ""),
        run_id=row.run_id,
    )


def list_gate_events(store: Store, version: str = "") -> list[Event]:
    """Tells what happened to all versions, oldest first: when each was registered, and every decision with reasons.

    What was decided about versions that are gone is told too: the catalog forgets nothing.

    Args:
        store: Knows the decisions.
        version: Only what concerns this one, as `3` or `bcd-idc/3`; empty: all.

    Raises:
        BcdError: There is no such version and never was.
    """
    rows = read_registered_versions(store.settings)
    events = [
        Event(one.registered_at, one.name, "registered", "", "", "", "", [one.description], is_gone=False)
        for one in map(_summarise_version, rows)
    ]
    events += [
        _make_event(one, is_gone=find_decided_version(rows, one) is None) for one in list_stored_decisions(store)
    ]
    name = f"{MODEL}/{version.removeprefix(f'{MODEL}/')}"
    told = [one for one in events if not version or name in {one.version, one.against}]
    if version and not told:
        known = ", ".join(sorted({one.version.rpartition("/")[2] for one in events}, key=int)) or "none"
        raise NotFoundError(f"There is no version {name}, and nothing was ever decided on it.", f"Versions: {known}.")
    return sorted(told, key=lambda event: event.at)


def _make_event(decision: Decision, *, is_gone: bool) -> Event:
    return Event(
        at=decision.decided_at,
        version=f"{MODEL}/{decision.challenger}",
        what="awaits approval" if decision.awaits_approval else decision.kind,
        verdict=decision.verdict,
        against=f"{MODEL}/{decision.champion}" if decision.champion else "",
        by=decision.by,
        reason="" if decision.sign_off is None else decision.sign_off.reason,
        why=decision.reasons,
        is_gone=is_gone,
    )
