"""What a snapshot takes from the catalog, and what it leaves out and why.

Everything is read in pieces: the whole public set is 277,524 rows, and text that repeats (hospital, patient, batch)
is held once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from bcd.patches import CANONICAL, CELL, SLIDE, Slide
from bcd.snapshots.splits import EXCLUDED
from bcd.store import tables
from bcd.store.complete import complete_slides
from bcd.store.conflicts import open_conflicts
from bcd.store.labels import latest_labels, match_patch_rows, match_patient_rows
from bcd.store.store import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COLUMNS = [*CELL, "label", "split", "batch", "row", "pixel_sha256"]
"""The columns of a snapshot's patches."""

REASONS = {
    "withdrawn": "the patient withdrew consent",
    "excluded": "the protocol keeps the patient out",
    "conflict": "a later delivery made the label or the patient doubtful, and nobody has settled it",
    "unlabelled": "there is no label",
}
"""Why a patch is left out of a snapshot; where several hold, the first is counted."""

LeftOut = dict[str, dict[str, int]]
"""For each reason of REASONS, how many `patients` and `patches`."""

_CHUNK = 8192


@dataclass(frozen=True)
class LabelledPatient:
    """A patient of whom a snapshot would take a patch.

    Attributes:
        split: The patient's split; None: the next retraining deals one.
        has_idc: Whether any of those patches is labelled IDC.
        has_none: Whether any is labelled as without.
        admitted_at: When the patient's first batch was admitted, in UTC.
    """

    split: str | None
    has_idc: bool
    has_none: bool
    admitted_at: datetime


_TYPES = dict.fromkeys(COLUMNS, "str") | {"label": "int8", "x": "int64", "y": "int64", "row": "int64"}


def read_freezable_rows(connection: sa.Connection, protocol: str, *, chunk: int = _CHUNK) -> pd.DataFrame:
    """Returns the patches that a snapshot takes, COLUMNS in canonical order; its index counts from 0.

    Args:
        connection: To the catalog.
        protocol: The protocol that dealt the splits.
        chunk: Rows that are read at a time.
    """
    import pandas as pd

    found = _with_reason(protocol).subquery()
    query = sa.select(*(found.c[name] for name in COLUMNS)).where(found.c.reason.is_(None))
    with connection.execute(query, execution_options={"yield_per": chunk}) as result:
        patches = _collect_snapshot_rows(result)
    ids = dict(connection.execute(sa.select(tables.batches.c.number, tables.batches.c.id)).tuples().all())
    patches["batch"] = pd.Categorical(patches["batch"].map(ids), categories=sorted(set(ids.values())))
    for name in SLIDE:
        # Codes in the order of the text: sorting by them is quick, and databases differ in how they order text.
        patches[name] = patches[name].cat.reorder_categories(sorted(patches[name].cat.categories))
    patches = patches.sort_values(CANONICAL, ignore_index=True)
    return patches.astype(_TYPES)


def read_complete(connection: sa.Connection, patches: pd.DataFrame) -> frozenset[Slide]:
    """Returns the slides of a snapshot's patches that are known to be complete."""
    slides = patches[SLIDE].drop_duplicates().itertuples(index=False, name=None)
    return frozenset(slides) & complete_slides(connection).keys()


def list_freezable_patients(store: Store, protocol: str) -> set[str]:
    """Returns the patients, as "hospital/patient", of whom a snapshot would take a patch now; deals nobody."""
    found = _with_reason(protocol).subquery()
    query = sa.select(found.c.hospital, found.c.patient).where(found.c.reason.is_(None)).distinct()
    return {f"{hospital}/{patient}" for hospital, patient in store.rows(query)}


def list_labelled_patients(store: Store, protocol: str) -> list[LabelledPatient]:
    """Returns the patients of whom a snapshot would take a patch now, with what is known of them; deals nobody."""
    found = _with_reason(protocol).subquery()
    people, batches, deliveries = tables.patients, tables.batches.c, tables.deliveries.c
    brought = (
        sa.select(people.c.hospital, people.c.patient, deliveries.admitted_at)
        .join(tables.batches, people.c.first_batch == batches.number)
        .join(tables.deliveries, batches.delivery == deliveries.id)
        .subquery()
    )
    query = (
        sa.select(found.c.split, sa.func.min(found.c.label), sa.func.max(found.c.label), brought.c.admitted_at)
        .join(brought, match_patient_rows(brought, found))
        .where(found.c.reason.is_(None))
        .group_by(found.c.hospital, found.c.patient, found.c.split, brought.c.admitted_at)
    )
    return [
        LabelledPatient(split, has_idc=highest == 1, has_none=lowest == 0, admitted_at=admitted_at)
        for split, lowest, highest, admitted_at in store.rows(query)
    ]


def count_left_out_of_snapshot(connection: sa.Connection, protocol: str) -> LeftOut:
    """Returns how many patients and patches a snapshot leaves out, by reason."""
    found = _with_reason(protocol).subquery()
    query = (
        sa.select(found.c.reason, found.c.hospital, found.c.patient, sa.func.count().label("patches"))
        .where(found.c.reason.is_not(None))
        .group_by(found.c.reason, found.c.hospital, found.c.patient)
    )
    counts: LeftOut = defaultdict(lambda: {"patients": 0, "patches": 0})
    for reason, _, _, patches in connection.execute(query):
        counts[reason]["patients"] += 1
        counts[reason]["patches"] += patches
    return {reason: counts[reason] for reason in REASONS if reason in counts}


def _with_reason(protocol: str) -> sa.Select[Any]:
    labels = latest_labels().subquery()
    doubts = open_conflicts().subquery()
    dealt, gone = tables.splits, tables.withdrawn

    def of_patient(table: sa.Table) -> sa.ColumnElement[bool]:
        return sa.and_(table.c.hospital == labels.c.hospital, table.c.patient == labels.c.patient)

    reason = sa.case(
        (gone.c.patient.is_not(None), "withdrawn"),
        (dealt.c.split == EXCLUDED, "excluded"),
        (doubts.c.patient.is_not(None), "conflict"),
        (labels.c.label.is_(None), "unlabelled"),
    )
    return (
        sa.select(*labels.c, dealt.c.split, reason.label("reason"))
        .outerjoin(dealt, sa.and_(dealt.c.protocol == protocol, of_patient(dealt)))
        .outerjoin(gone, of_patient(gone))
        .outerjoin(doubts, match_patch_rows(doubts, labels))
    )


def _collect_snapshot_rows(result: sa.CursorResult[Any]) -> pd.DataFrame:
    import pyarrow as pa

    text, number = pa.dictionary(pa.int32(), pa.string()), pa.int32()
    types = {
        "x": number,
        "y": number,
        "row": number,
        "batch": number,
        "label": pa.int8(),
        "pixel_sha256": pa.string(),
    }
    schema = pa.schema([(name, types.get(name, text)) for name in COLUMNS])
    parts: list[pa.Table] = [schema.empty_table()]
    for rows in result.partitions():
        columns = zip(*rows, strict=True)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        parts.append(pa.Table.from_arrays(arrays, schema=schema))
    patches: pd.DataFrame = pa.concat_tables(parts).unify_dictionaries().to_pandas()
    return patches
