"""What a hospital and its engineer ask about deliveries: counts, refusals with what became of them, doubts raised.

Examples:
    >>> delivery = match_delivery(store, "idc-batch-1.zip")  # doctest: +SKIP
    >>> list_refused(store, delivery.id, rule="size")[0].message  # doctest: +SKIP
    'The picture is 50x42 px, not 50x50.'
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.patches import BatchId, Hospital, PatchName
from bcd.store import tables
from bcd.store.store import Store


@dataclass(frozen=True)
class Delivery:
    """A delivery with its counts; admitted_files + refused files + ignored = files.

    Attributes:
        id: Hash of hospital, names and bytes.
        hospital: Where it came from.
        name: Name of the folder or archive.
        admitted_at: When, in UTC.
        batch: What its admitted patches became; None where it brought none.
        files: Number of its files.
        admitted_files: Number of files that patches were admitted from; a slide is one file of many patches.
        admitted: Number of admitted patches.
        ignored: Number of files that are an operating system's litter.
        patients: Number of patients that admitted patches are of.
        positive: Number of admitted patches labelled 1.
        unlabelled: Number of admitted patches without a label.
        flags: Number of admitted patches by flag.
        label_rows: Number of rows of its tables of labels.
        unmatched_rows: Number of those that name no patch of it.
        label_note: Which these are, and the likely cause, in a sentence.
        refused: Number of refused files by rule.
        conflicts: Number of doubts that it raised about patches of earlier batches.
        released: Number of its refused files that were released since.
        reason: Why it was refused as a whole, and what to do; None where it was not.
    """

    id: str
    hospital: Hospital
    name: str
    admitted_at: datetime
    batch: BatchId | None
    files: int
    admitted_files: int
    admitted: int
    ignored: int
    patients: int
    positive: int
    unlabelled: int
    flags: dict[str, int]
    label_rows: int
    unmatched_rows: int
    label_note: str
    refused: dict[str, int]
    conflicts: int
    released: int
    reason: str | None = None

    @property
    def refused_files(self) -> int:
        """Number of refused files."""
        return sum(self.refused.values())


@dataclass(frozen=True)
class RefusedFile:
    """One refused file, and who released it since.

    Attributes:
        number: Its number in the catalog.
        name: Its path in the delivery.
        rule: Code of the rule that it broke.
        message: What is wrong, in a sentence.
        sha256: Hash of its bytes.
        kept: Its name in the quarantine; None where its bytes were not kept.
        author: Who released it; None where it still stands refused.
        reason: Why.
        released_at: When, in UTC.
    """

    number: int
    name: str
    rule: str
    message: str
    sha256: str
    kept: str | None
    author: str | None
    reason: str | None
    released_at: datetime | None

    @property
    def state(self) -> str:
        """Whether it is refused still, or by whom and why it was released."""
        if self.author is None or self.released_at is None:
            return "refused"
        return f"released by {self.author} on {self.released_at:%Y-%m-%d}: {self.reason}"


class PatientCounts(NamedTuple):
    """Admitted patches of one patient, with the labels that they were delivered with."""

    patient: str
    patches: int
    positive: int
    unlabelled: int


class Conflict(NamedTuple):
    """A doubt about a patch of an earlier batch."""

    hospital: str
    patient: str
    slide: str
    x: int
    y: int
    rule: str
    message: str


def list_deliveries(store: Store) -> list[Delivery]:
    """Returns all deliveries in the order of their admission."""
    deliveries, batches = tables.deliveries, tables.batches
    query = (
        sa.select(deliveries, batches.c.id.label("batch"))
        .outerjoin_from(deliveries, batches)
        .order_by(deliveries.c.admitted_at, batches.c.number, deliveries.c.id)
    )
    refusals, releases, conflicts = tables.refusals, tables.releases, tables.conflicts
    by_rule = sa.select(refusals.c.delivery, refusals.c.rule, sa.func.count()).group_by(
        refusals.c.delivery, refusals.c.rule
    )
    of_delivery = {
        "conflicts": sa.select(conflicts.c.delivery, sa.func.count()).group_by(conflicts.c.delivery),
        "released": sa.select(refusals.c.delivery, sa.func.count())
        .join_from(releases, refusals, releases.c.refusal == refusals.c.number)
        .group_by(refusals.c.delivery),
    }
    with store.read() as connection:
        rows = connection.execute(query).mappings().all()
        refused: dict[str, dict[str, int]] = defaultdict(dict)
        for delivery, rule, count in connection.execute(by_rule.order_by(refusals.c.rule)):
            refused[delivery][rule] = count
        counts = {
            name: {delivery: count for delivery, count in connection.execute(one)}  # noqa: C416 (rows are no pairs)
            for name, one in of_delivery.items()
        }
    return [
        Delivery(**row, refused=refused[row["id"]], **{name: each.get(row["id"], 0) for name, each in counts.items()})
        for row in rows
    ]


def match_delivery(store: Store, text: str) -> Delivery:
    """Finds a delivery by its id, its batch's id, the beginning of either, or its name.

    Raises:
        BcdError: There is none, or several (which are listed).
    """
    every = list_deliveries(store)
    found = [each for each in every if text in (each.id, each.batch, each.name)]
    if not found and text:
        found = [each for each in every if each.id.startswith(text) or (each.batch or "").startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BcdError(f"No delivery or batch is called {text!r}.", "`bcd batch list` lists them.")
    raise BcdError(
        f"{text!r} may be {len(found)} deliveries: {'; '.join(_title(each) for each in found[:10])}"
        f"{'; …' if len(found) > 10 else ''}.",
        "Name one by the beginning of its id.",
    )


def _title(each: Delivery) -> str:
    batch = f", batch {each.batch[:12]}" if each.batch else ""
    return f"{each.id[:12]} ({each.name} of {each.hospital}, {each.admitted_at:%Y-%m-%d %H:%M}{batch})"


def list_refused(
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
    columns: list[sa.ColumnElement[Any]] = [
        *(refusals[name] for name in ("number", "name", "rule", "message", "sha256", "kept")),
        *(releases[name] for name in ("author", "reason", "released_at")),
    ]
    query = (
        sa.select(*columns)
        .outerjoin_from(tables.refusals, tables.releases, releases.refusal == refusals.number)
        .where(refusals.delivery == delivery)
        .order_by(refusals.number)
        .limit(limit)
    )
    if rule is not None:
        query = query.where(refusals.rule == rule)
    if numbers is not None:
        query = query.where(refusals.number.in_(numbers))
    with store.read() as connection:
        return [RefusedFile(**row) for row in connection.execute(query).mappings()]


def refusal_numbers(store: Store, delivery: str) -> dict[str, list[tuple[int, int]]]:
    """Returns, by rule, refused files' places in the delivery's list, from 1, and their numbers in the catalog."""
    refusals = tables.refusals.c
    query = sa.select(refusals.number, refusals.rule).where(refusals.delivery == delivery).order_by(refusals.number)
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    with store.read() as connection:
        for place, (number, rule) in enumerate(connection.execute(query), start=1):
            found[rule].append((place, number))
    return dict(found)


def count_by_patient(store: Store, batch: str) -> list[PatientCounts]:
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
    with store.read() as connection:
        return [PatientCounts(*row) for row in connection.execute(query)]


def list_conflicts(store: Store, delivery: str, limit: int) -> list[Conflict]:
    """Returns the first doubts that a delivery raised about patches of earlier batches."""
    conflicts = tables.conflicts.c
    query = (
        sa.select(*(conflicts[name] for name in Conflict._fields))
        .where(conflicts.delivery == delivery)
        .order_by(conflicts.number)
        .limit(limit)
    )
    with store.read() as connection:
        return [Conflict(*row) for row in connection.execute(query)]


def withdrawn_patients(store: Store, hospital: Hospital) -> set[str]:
    """Returns the patients of a hospital who have withdrawn consent."""
    query = sa.select(tables.withdrawn.c.patient).where(tables.withdrawn.c.hospital == hospital)
    with store.read() as connection:
        return set(connection.scalars(query))


def find_admitted(store: Store, hospital: Hospital, name: PatchName) -> tuple[str, int] | None:
    """Returns the batch that holds a patch of this place, and its row there; None where none does."""
    patches = tables.patches.c
    query = (
        sa.select(tables.batches.c.id, patches.row)
        .join_from(tables.patches, tables.batches)
        .where(patches.hospital == hospital, patches.patient == name.patient, patches.slide == name.slide)
        .where(patches.x == name.x, patches.y == name.y)
    )
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])
