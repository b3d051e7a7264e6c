"""What the gate will do next, and what it waits for: by the gate patients of the catalog and the budget of looks.

Examples:
    >>> print(find_outlook(store).sentence)  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from bcd.formats import format_count, format_share
from bcd.gate.anchor import find_anchor
from bcd.gate.budget import Budget, find_budget, tell_risk
from bcd.gate.history import find_champion_version
from bcd.gate.options import GateOptions
from bcd.snapshots.options import SplitOptions
from bcd.snapshots.rows import LabelledPatient, list_labelled_patients
from bcd.snapshots.splits import split_shares
from bcd.tracking.lookup import MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bcd.store.store import Store

_RECENT = timedelta(days=180)
"""How far back patients are counted for the rate at which they come."""

_LEAST = timedelta(days=14)
"""A shorter time says nothing of a rate."""

_MONTH = timedelta(days=365.25 / 12)


@dataclass(frozen=True)
class Outlook:
    """What the gate will do next.

    Attributes:
        patients: Gate patients of now.
        missing: How many more it takes, with patches of each class; 0: the gate compares.
        monthly: Labelled patients who come in a month; None: it is too early to say.
        anchor: The version that is anchor, None where there is none.
        budget: What the next look may spend.
        sentence: All that, for a person.
    """

    patients: int
    missing: int
    monthly: float | None
    anchor: str | None
    budget: Budget
    sentence: str


def find_outlook(store: Store, now: datetime | None = None) -> Outlook:
    """Says what the gate will do with the next challengers, and what it waits for.

    Args:
        store: The open store.
        now: The time; None: the clock's.
    """
    now = now or datetime.now(UTC)
    options = store.settings.options("gate", GateOptions)
    splits = store.settings.options("splits", SplitOptions)
    labelled = list_labelled_patients(store, splits.recorded_as)
    gate = [one for one in labelled if one.split == "gate"]
    both = min(sum(one.has_idc for one in gate), sum(one.has_none for one in gate))
    missing = max(0, options.min_patients - both)
    budget = find_budget(store, splits.recorded_as, len(gate), options)
    champion, anchor = find_champion_version(store.settings), find_anchor(store)
    monthly = _find_rate(labelled, now)
    if missing:
        sentence = _tell_waiting(len(gate), missing, champion, options)
        sentence += f" {_tell_when(missing, split_shares(splits).get('gate'), monthly, now)}"
    else:
        sentence = _tell_comparing(len(gate), champion, anchor, budget, options)
    return Outlook(len(gate), missing, monthly, anchor, budget, sentence)


def _find_rate(labelled: Sequence[LabelledPatient], now: datetime) -> float | None:
    if not labelled:
        return None
    since = max(min(one.admitted_at for one in labelled), now - _RECENT)
    if now - since < _LEAST:
        return None
    return sum(one.admitted_at >= since for one in labelled) / ((now - since) / _MONTH)


def _tell_waiting(patients: int, missing: int, champion: str | None, options: GateOptions) -> str:
    known = f"The gate has {format_count(patients, 'patient')}, and takes {options.min_patients} with either class"
    if champion is None:
        does = "the first version becomes champion without a comparison, and every later one is held"
    else:
        does = f"it holds every version, and {MODEL}/{champion} stays champion"
    return f"{known}. Until {missing:,} more come, {does}; `bcd model promote` overrules it."


def _tell_when(missing: int, share: float | None, monthly: float | None, now: datetime) -> str:
    if share is None:
        return "The protocol deals nobody: gate patients are those in none of its lists."
    wanted = ceil(missing / share)
    text = f"Of labelled new patients {format_share(share)} become gate patients: it waits for about {wanted:,}"
    if monthly is None:
        return f"{text}; how fast they come is not known yet."
    if monthly < 0.5:
        return f"{text}, and hardly any come now."
    months = wanted / monthly
    return f"{text}, at {monthly:.0f} a month until about {now + months * _MONTH:%B %Y}."


def _tell_comparing(
    patients: int, champion: str | None, anchor: str | None, budget: Budget, options: GateOptions
) -> str:
    known = f"The gate has {format_count(patients, 'patient')}"
    if champion is None and anchor is None:
        return f"{known}; the first version becomes champion and anchor without a comparison."
    against = [f"champion {MODEL}/{champion}"] * (champion is not None) + [f"anchor {MODEL}/{anchor}"] * (
        anchor is not None and anchor != champion
    )
    if champion is not None and champion == anchor:
        against = [f"{MODEL}/{champion}, champion and anchor"]
    return (
        f"{known}; the next version is compared with {' and '.join(against)}. That look spends"
        f" {tell_risk(budget.level)} of the {tell_risk(options.budget)} that all looks may spend;"
        f" {tell_risk(budget.left)} are unlocked and left, and new gate patients renew it."
    )
