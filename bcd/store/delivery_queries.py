"""What a hospital and its engineer ask about deliveries: counts, refusals with what became of them, doubts raised.

Examples:
    >>> delivery = match_stored_delivery(store, "idc-batch-1.zip")  # doctest: +SKIP
    >>> list_stored_refusals(store, delivery.id, rule="size")[0].message  # doctest: +SKIP
    'The picture is 50x42 px, not 50x50.'
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from bcd.errors import NotFoundError
from bcd.formats import format_some
from bcd.patches import BatchId, Hospital, PatchName, PatientId
from bcd.store import tables
from bcd.store.deliveries import Delivery, RefusedFile
from bcd.store.sign_off import COLUMNS as SIGNED
from bcd.store.sign_off import SignOff
from bcd.store.store import Store


class PatientCounts(NamedTuple):
    """Admitted patches of one patient, with the labels that they were delivered with."""

    patient: PatientId
    patches: int
    positive: int
    unlabelled: int


def list_stored_deliveries(store: Store) -> list[Delivery]:
    """Returns all deliveries in the order of their admission."""
    return _read_deliveries(store, sa.true())


def list_batches(store: Store) -> list[Delivery]:
    """Returns the deliveries that brought a batch, in the order of their admission."""
    return [each for each in list_stored_deliveries(store) if each.batch is not None]


def find_stored_delivery(store: Store, identity: str) -> Delivery | None:
    """Returns what became of a delivery, or None where it is new."""
    return next(iter(_read_deliveries(store, tables.deliveries.c.id == identity)), None)


def _read_deliveries(store: Store, condition: sa.ColumnElement[bool]) -> list[Delivery]:
    deliveries, batches = tables.deliveries, tables.batches
    refusals, releases, conflicts = tables.refusals, tables.releases, tables.conflicts
    query = (
        sa.select(deliveries, batches.c.id.label("batch"))
        .outerjoin_from(deliveries, batches)
        .where(condition)
        .order_by(deliveries.c.admitted_at, batches.c.number, deliveries.c.id)
    )
    asked = sa.select(deliveries.c.id).where(condition)
    by_rule = (
        sa.select(refusals.c.delivery, refusals.c.rule, sa.func.count())
        .where(refusals.c.delivery.in_(asked))
        .group_by(refusals.c.delivery, refusals.c.rule)
        .order_by(refusals.c.rule)
    )
    of_delivery = {
        "conflicts": sa.select(conflicts.c.delivery, sa.func.count()).group_by(conflicts.c.delivery),
        "released": sa.select(refusals.c.delivery, sa.func.count())
        .join_from(releases, refusals, releases.c.refusal == refusals.c.number)
        .group_by(refusals.c.delivery),
    }
    refused: dict[str, dict[str, int]] = defaultdict(dict)
    for delivery, rule, count in store.rows(by_rule):
        refused[delivery][rule] = count
    counts = {name: dict(map(tuple, store.rows(one))) for name, one in of_delivery.items()}
    return [
        Delivery(
            **row._mapping, refused=refused[row.id], **{name: each.get(row.id, 0) for name, each in counts.items()}
        )
        for row in store.rows(query)
    ]


def match_stored_delivery(store: Store, text: str) -> Delivery:
    """Finds a delivery by its id, its batch's id, the beginning of either, or its name.

    Raises:
        BcdError: There is none, or several (which are listed).
    """
    every = list_stored_deliveries(store)
    found = [each for each in every if text in (each.id, each.batch, each.name)]
    if not found and text:
        found = [each for each in every if each.id.startswith(text) or (each.batch or "").startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"No delivery or batch is called {text!r}.", "`bcd batch list` lists them.")
    raise NotFoundError(
        f"{text!r} may be {len(found)} deliveries: "
        f"{format_some([_title_delivery(each) for each in found], 10, between='; ')}.",
        "Name one by the beginning of its id.",
    )


def _title_delivery(each: Delivery) -> str:
    batch = f", batch {each.batch[:12]}" if each.batch else ""
    return f"{each.id[:12]} ({each.name} of {each.hospital}, {each.admitted_at:%Y-%m-%d %H:%M}{batch})"


def list_stored_refusals(
    store: Store,
    delivery: str,
    *,
    rule: str | None = None,
    limit: int | None = None,
    numbers: Sequence[int] | None = None,
) -> list[RefusedFile]:
    """Returns refused files of a delivery, in the order of the quarantine.

    Args:
        store: Where they are recorded.
        delivery: The delivery's id.
        rule: Only those that broke this rule.
        limit: At most so many.
        numbers: Only those of these numbers; fewer than a database takes in one query.
    """
    refusals, releases = tables.refusals.c, tables.releases.c
    names = ("number", "name", "rule", "message", "sha256", "kept")
    query = (
        sa.select(*(refusals[name] for name in names), *(releases[name] for name in SIGNED))
        .outerjoin_from(tables.refusals, tables.releases, releases.refusal == refusals.number)
        .where(refusals.delivery == delivery)
        .order_by(refusals.number)
        .limit(limit)
    )
    if rule is not None:
        query = query.where(refusals.rule == rule)
    if numbers is not None:
        query = query.where(refusals.number.in_(numbers))
    return [
        RefusedFile(
            **{name: getattr(row, name) for name in names}, released=SignOff.of(row._mapping) if row.by else None
        )
        for row in store.rows(query)
    ]


def number_stored_refusals(store: Store, delivery: str) -> dict[str, list[tuple[int, int]]]:
    """Returns, by rule, refused files' places in the delivery's list, from 1, and their numbers in the catalog."""
    refusals = tables.refusals.c
    query = sa.select(refusals.number, refusals.rule).where(refusals.delivery == delivery).order_by(refusals.number)
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, (number, rule) in enumerate(store.rows(query), start=1):
        found[rule].append((place, number))
    return dict(found)


def count_batch_by_patient(store: Store, batch: BatchId) -> list[PatientCounts]:
    """Returns the patients of a batch with their counts, in the order of their identifiers."""
    patches = tables.patches.c
    query = (
        sa.select(
            patches.patient,
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(patches.label), 0),
            sa.func.count() - sa.func.count(patches.label),
        )
        .join_from(tables.patches, tables.batches)
        .where(tables.batches.c.id == batch)
        .group_by(patches.patient)
        .order_by(patches.patient)
    )
    return [PatientCounts(*row) for row in store.rows(query)]


def find_batch_of_patch(store: Store, hospital: Hospital, name: PatchName) -> tuple[BatchId, int] | None:
    """Returns the batch that holds a patch of this place, and its row there; None where none does."""
    patches = tables.patches.c
    query = (
        sa.select(tables.batches.c.id, patches.row)
        .join_from(tables.patches, tables.batches)
        .where(patches.hospital == hospital, patches.patient == name.patient, patches.slide == name.slide)
        .where(patches.x == name.x, patches.y == name.y)
    )
    return next(((batch, row) for batch, row in store.rows(query)), None)
