"""What became of each delivery: its counts, its batch, its refusals, and what it says of earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from bcd.patches import CELL, BatchId, Hospital
from bcd.progress import track_progress
from bcd.store import tables
from bcd.store.batches import BatchIndex
from bcd.store.complete import CompleteSlide, record_complete
from bcd.store.frames import SlideFrame, store_frames
from bcd.store.known import KnownPatch, StainRecord, in_chunks
from bcd.store.sign_off import LONGEST, SignOff
from bcd.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 5000
"""Rows of one bulk insert."""


@dataclass(frozen=True)
class Delivery:
    """A delivery that was looked at: admitted, whole or in part, or refused as a whole.

    Attributes:
        id: Hash of hospital, names and bytes.
        hospital: Where it came from.
        name: Name of the folder or archive.
        batch: What its admitted patches became; None where all of them had been admitted before.
        files: Number of its files: admitted_files, the refused ones and `ignored` add up to it.
        admitted_files: Number of files admitted; a slide is one file and many patches.
        admitted: Number of patches admitted.
        refused: Number of files refused, by rule.
        ignored: Number of files that are an operating system's litter.
        patients: Number of patients admitted patches are of.
        positive: Number of admitted patches labelled 1.
        unlabelled: Number of admitted patches without a label.
        flags: Number of admitted patches with each flag that any has.
        reason: Why it was refused as a whole, and what to do; None where it was not.
        label_rows: Number of rows of its tables of labels.
        unmatched_rows: Number of those that name no patch of it.
        label_note: Which these are, and the likely cause, in a sentence.
        conflicts: Number of doubts that it raised about patches of earlier batches.
        released: Number of its refused files that were released since.
        admitted_at: When, in UTC.
    """

    id: str
    hospital: Hospital
    name: str
    batch: BatchId | None
    files: int
    admitted_files: int
    admitted: int
    refused: dict[str, int]
    ignored: int
    patients: int
    positive: int
    unlabelled: int
    flags: dict[str, int]
    reason: str | None = None
    label_rows: int = 0
    unmatched_rows: int = 0
    label_note: str = ""
    conflicts: int = 0
    released: int = 0
    admitted_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def refused_files(self) -> int:
        """Number of refused files."""
        return sum(self.refused.values())


@dataclass(frozen=True)
class RefusedFile:
    """One refused file, and who released it since.

    Attributes:
        name: Its path in the delivery.
        rule: Code of the rule that it broke.
        message: What is wrong, in a sentence.
        sha256: Hash of its bytes.
        kept: Its name in the quarantine; None where its bytes were not kept.
        number: Its number in the catalog, once it is there.
        released: Who released it, why and when; None where it still stands refused.
    """

    name: str
    rule: str
    message: str
    sha256: str
    kept: str | None
    number: int = 0
    released: SignOff | None = None

    @property
    def state(self) -> str:
        """Whether it is refused still, or by whom and why it was released."""
        return "refused" if self.released is None else f"released {self.released}"


@dataclass(frozen=True)
class Settlement:
    """All that one delivery changes in the catalog, entered at once or not at all.

    Attributes:
        record: The delivery; its batch's folder is already in place.
        index: The batch's index; None where there is no batch.
        refusals: Its refused files.
        conflicts: Earlier patches that it contradicts, each with the rule and the message of what does.
        labels: Labels that it brings for patches that were admitted without one.
        stains: The colours of its slides.
        complete: Those of its slides that are complete.
        frames: Where patches lie in the slides that were cut.
    """

    record: Delivery
    index: BatchIndex | None = None
    refusals: Sequence[RefusedFile] = ()
    conflicts: Sequence[tuple[KnownPatch, str, str]] = ()
    labels: Sequence[tuple[KnownPatch, int]] = ()
    stains: Sequence[StainRecord] = ()
    complete: Sequence[CompleteSlide] = ()
    frames: Sequence[SlideFrame] = ()


def record_delivery(store: Store, settlement: Settlement, confirm: Callable[[], None] = lambda: None) -> None:
    """Enters a delivery and all that it changes in one transaction; one that is entered already stays as it is.

    Args:
        store: Where to.
        settlement: What to enter.
        confirm: Raises if what was decided on may have changed meanwhile, as when a lock was lost.
    """
    record = settlement.record
    with store.write() as connection:
        confirm()
        if connection.execute(sa.select(tables.deliveries.c.id).where(tables.deliveries.c.id == record.id)).first():
            return
        values = {column.name: getattr(record, column.name) for column in tables.deliveries.c}
        connection.execute(sa.insert(tables.deliveries).values(values))
        if record.batch is not None and settlement.index is not None:
            number = _insert_batch(connection, record, settlement.index)
            _insert_rows(connection, tables.stains, ({"batch": number, **vars(stain)} for stain in settlement.stains))
            record_complete(connection, record.hospital, number, list(settlement.complete))
            store_frames(connection, record.hospital, number, settlement.frames)
        written = ("name", "rule", "message", "sha256", "kept")
        refusals = ({name: getattr(one, name) for name in written} for one in settlement.refusals)
        _insert_rows(connection, tables.refusals, ({"delivery": record.id, **refusal} for refusal in refusals))
        # No clock is trusted: a doubt is never older than the labels that it was raised against.
        latest = connection.scalar(sa.select(sa.func.max(tables.label_revisions.c.at)))
        found_at = max(record.admitted_at, latest or record.admitted_at)
        _insert_rows(connection, tables.conflicts, _conflict_rows(settlement, found_at))
        _insert_rows(connection, tables.label_revisions, _revision_rows(settlement))


def _insert_rows(connection: sa.Connection, table: sa.Table, rows: Iterable[dict[str, object]]) -> None:
    for chunk in in_chunks(list(rows), CHUNK):
        connection.execute(sa.insert(table), chunk)


def _conflict_rows(settlement: Settlement, found_at: datetime) -> Iterator[dict[str, object]]:
    entered = {"delivery": settlement.record.id, "found_at": found_at}
    for known, rule, message in settlement.conflicts:
        yield {**_cell_of_known(known), "rule": rule, "message": message, **entered}


def _revision_rows(settlement: Settlement) -> Iterator[dict[str, object]]:
    by = f"delivery {settlement.record.name}"[: LONGEST["by"]]
    reason = "Delivered with a label after it was admitted without one."
    signed = vars(SignOff(by, reason, settlement.record.admitted_at))
    for known, label in settlement.labels:
        yield {**_cell_of_known(known), "label": label, **signed}


def _cell_of_known(known: KnownPatch) -> dict[str, object]:
    return {name: getattr(known, name) for name in CELL}


def _insert_batch(connection: sa.Connection, record: Delivery, index: BatchIndex) -> int:
    made = connection.execute(
        sa.insert(tables.batches).values(id=record.batch, delivery=record.id).returning(tables.batches.c.number)
    )
    number = int(made.scalar_one())
    people: set[str] = set()
    with track_progress("Entering patches", total=index.rows) as advance:
        for place, part in enumerate(index.parts(CHUNK)):
            _insert_patches(connection, part, batch=number, first_row=place * CHUNK)
            people.update(part["patient"].unique())
            advance(len(part))
    known = set(
        connection.scalars(sa.select(tables.patients.c.patient).where(tables.patients.c.hospital == record.hospital))
    )
    patients = (
        {"hospital": record.hospital, "patient": one, "first_batch": number} for one in sorted(people - known)
    )
    _insert_rows(connection, tables.patients, patients)
    return number


def _insert_patches(connection: sa.Connection, part: pd.DataFrame, *, batch: int, first_row: int) -> None:
    """Inserts patches as plain tuples where the database takes those: twice as fast, and there are many patches."""
    values: dict[str, Iterable[object]] = {name: part[name].tolist() for name in (*CELL, "pixel_sha256")}
    values["label"] = part["label"].astype(object).where(part["label"].notna(), None).tolist()
    values["batch"] = repeat(batch, len(part))
    values["row"] = range(first_row, first_row + len(part))
    insert = sa.insert(tables.patches).compile(dialect=connection.dialect, column_keys=list(values))
    if isinstance(insert, SQLCompiler) and insert.positiontup is not None:
        rows = list(zip(*(values[name] for name in insert.positiontup), strict=True))
        connection.exec_driver_sql(str(insert), rows)
    else:
        named = zip(*values.values(), strict=True)
        connection.execute(sa.insert(tables.patches), [dict(zip(values, row, strict=True)) for row in named])
