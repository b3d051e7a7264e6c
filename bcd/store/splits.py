"""Splits: each patient is dealt to train, val, gate or test once, and that is recorded for ever.

`dealt` takes the labelled new patients of a batch in the order of a keyed hash and deals each to the split
furthest below its share, so that small hospitals fill every split too. The two other protocols follow the
published lists of the public IDC set (`bcd.store.protocols`), patient by patient:

| protocol | train | val | gate | test | excluded |
| --- | --- | --- | --- | --- | --- |
| `cruz-roa-2014` | published train | published val | unlisted | published test | |
| `cruz-roa-2014-dev` | .70 of published train and unlisted | .15 | .15 | published val | published test |

A patient without any label waits: dealing one would fill a seat with nothing to learn from.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

import sqlalchemy as sa

from bcd.patches import Hospital, PatientId
from bcd.store import tables
from bcd.store.catalog import Catalog
from bcd.store.labels import latest_labels
from bcd.store.options import SplitOptions

__all__ = [
    "EXCLUDED",
    "SPLITS",
    "SplitOptions",
    "deal_splits",
    "furthest_below",
    "published_list",
    "split_of",
    "suggest_protocol",
]

SPLITS = ("train", "val", "gate", "test")
"""The splits a model may see or be judged by."""

EXCLUDED = "excluded"
"""The split of patients that a protocol keeps out of every snapshot."""

DEV_SHARES = {"train": 0.7, "val": 0.15, "gate": 0.15}
"""Shares of `cruz-roa-2014-dev` among the patients it deals."""


@cache
def published_list(name: str) -> frozenset[str]:
    """Returns a published patient list: `train`, `val` or `test`."""
    text = (files("bcd.store.protocols") / f"cruz-roa-2014-{name}.txt").read_text("ascii")
    return frozenset(text.split())


def suggest_protocol(patients: Iterable[str]) -> str:
    """Returns the protocol that suits these patients: the public set's own where they are of that set."""
    listed = published_list("val").intersection(patients)
    return "cruz-roa-2014-dev" if len(listed) >= 10 else "dealt"


def deal_splits(catalog: Catalog, options: SplitOptions) -> int:
    """Deals every labelled patient who has no split under this protocol yet, batch after batch.

    Returns:
        Number of patients dealt.
    """
    dealt = tables.splits.c
    with catalog.write() as connection:
        counts = Counter(connection.scalars(sa.select(dealt.split).where(dealt.protocol == options.protocol)))
        rows = []
        for batch in _waiting(connection, options.protocol):
            for hospital, patient in sorted(batch, key=lambda one: _place(options.key, *one)):
                split = _listed(options.protocol, patient) or furthest_below(_shares(options), counts)
                counts[split] += 1
                rows.append({"protocol": options.protocol, "hospital": hospital, "patient": patient, "split": split})
        if rows:
            connection.execute(sa.insert(tables.splits), rows)
    return len(rows)


def furthest_below(shares: Mapping[str, float], counts: Mapping[str, int]) -> str:
    """Returns the split that the next patient goes to: furthest below its share, the first on a tie."""
    total = sum(counts.get(split, 0) for split in shares) + 1
    return max(shares, key=lambda split: round(shares[split] * total - counts.get(split, 0), 9))


def split_of(catalog: Catalog, protocol: str, hospital: Hospital, patient: PatientId) -> str | None:
    """Returns a patient's split under a protocol: one of SPLITS, `excluded`, or None where not dealt."""
    dealt = tables.splits.c
    query = sa.select(dealt.split).where(
        dealt.protocol == protocol, dealt.hospital == hospital, dealt.patient == patient
    )
    with catalog.engine.connect() as connection:
        return connection.execute(query).scalar_one_or_none()


def _waiting(connection: sa.Connection, protocol: str) -> list[list[tuple[str, str]]]:
    labels = latest_labels().subquery()
    patients, dealt = tables.patients.c, tables.splits.c
    labelled = sa.select(labels.c.hospital, labels.c.patient).where(labels.c.label.is_not(None)).distinct().subquery()
    query = (
        sa.select(patients.first_batch, patients.hospital, patients.patient)
        .join_from(
            tables.patients,
            labelled,
            sa.and_(labelled.c.hospital == patients.hospital, labelled.c.patient == patients.patient),
        )
        .outerjoin(
            tables.splits,
            sa.and_(
                dealt.protocol == protocol,
                dealt.hospital == patients.hospital,
                dealt.patient == patients.patient,
            ),
        )
        .where(dealt.split.is_(None))
        .order_by(patients.first_batch)
    )
    batches: dict[int, list[tuple[str, str]]] = {}
    for number, hospital, patient in connection.execute(query):
        batches.setdefault(number, []).append((hospital, patient))
    return list(batches.values())


def _place(key: str, hospital: str, patient: str) -> bytes:
    return hmac.digest(key.encode(), f"{hospital}/{patient}".encode(), hashlib.sha256)


def _shares(options: SplitOptions) -> dict[str, float]:
    if options.protocol == "cruz-roa-2014-dev":
        return DEV_SHARES
    return {split: float(getattr(options, split)) for split in SPLITS}


def _listed(protocol: str, patient: str) -> str | None:
    """Returns the split that a protocol's lists give a patient; None where the patient is dealt."""
    if protocol == "cruz-roa-2014":
        named = (split for split in ("train", "val", "test") if patient in published_list(split))
        return next(named, "gate")
    if protocol == "cruz-roa-2014-dev":
        if patient in published_list("val"):
            return "test"
        return EXCLUDED if patient in published_list("test") else None
    return None
