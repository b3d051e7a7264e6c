"""From the delivered file to the patch: what the catalog and the index of each batch say of a patient's patches.

A withdrawn patient has a lineage too: it says what was erased, and what remains and why.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from bcd.admission.received import find_received
from bcd.errors import DamagedError
from bcd.formats import format_count
from bcd.lineage.link import Link, hash_text, keys_of
from bcd.patches import CELL, BatchId, Hospital, PatchName, PatientId, Person
from bcd.store import tables
from bcd.store.batches import read_batch_index
from bcd.store.delivery_queries import list_batches
from bcd.store.frames import find_stored_frame
from bcd.store.hospitals import list_hospitals
from bcd.store.objects import is_stored
from bcd.store.sign_off import SignOff
from bcd.store.withdrawals import list_withdrawals

if TYPE_CHECKING:
    import pandas as pd

    from bcd.store.deliveries import Delivery
    from bcd.store.store import Store

_LISTED = [*CELL, "label", "batch", "row", "pixel_sha256"]


def list_traced_patches(store: Store, hospital: Hospital, patient: PatientId) -> pd.DataFrame:
    """Lists a patient's patches as they were admitted, of withdrawn patients too.

    Returns:
        Columns hospital, patient, slide, x, y, label (Int8, as delivered), batch, row, pixel_sha256 and file_sha256
        (NA where the index of the batch is gone), in the order of batches and rows.
    """
    import pandas as pd

    column = tables.patches.c
    query = (
        sa.select(*(column[name] for name in (*CELL, "label")), tables.batches.c.id, column.row, column.pixel_sha256)
        .join_from(tables.patches, tables.batches)
        .where(column.hospital == hospital, column.patient == patient)
        .order_by(tables.batches.c.number, column.row)
    )
    patches = pd.DataFrame(store.rows(query), columns=_LISTED).astype({"label": "Int8"})
    patches["file_sha256"] = pd.Series(pd.NA, index=patches.index, dtype="str")
    for batch, rows in patches.groupby("batch", sort=False)["row"]:
        with suppress(DamagedError):  # its folder is gone, which is told of the batch
            hashes = read_batch_index(store.settings, BatchId(str(batch)), ["sha256"])["sha256"]
            patches.loc[rows.index, "file_sha256"] = hashes.iloc[rows].to_numpy()
    return patches


def trace_patches(store: Store, patches: pd.DataFrame, cell: PatchName | None) -> list[Link]:
    """Traces a patient's patches, or one of them, back to the delivered files.

    Args:
        store: The open store.
        patches: Those of `list_traced_patches`, of one patient.
        cell: The one; None: all.

    Returns:
        Deliveries, files, batches, the patch, labels that were revised, and the withdrawal, each after those that it
        was made of.
    """
    person = Hospital(str(patches["hospital"].iloc[0])), PatientId(str(patches["patient"].iloc[0]))
    wanted = patches if cell is None else patches[find_cell(patches, cell)]
    links: list[Link] = []
    traced = trace_batches(store, wanted["batch"].unique().tolist())
    for batch, rows in wanted.groupby("batch", sort=False):
        *before, made = traced[str(batch)]
        file = _trace_files(rows, cell, before, person)
        erased = _tell_erased(store, BatchId(str(batch)), person)
        links += [*before, file, made.model_copy(update={"previous": (file.key,), "facts": made.facts + erased})]
    if cell is not None:
        links.append(_trace_patch(store, wanted.iloc[0], cell, links[-1:]))
    labelled = [link for link in links if link.kind == ("batch" if cell is None else "patch")]
    labels = _trace_labels(store, person, cell, labelled)
    return [*links, *labels, *_trace_withdrawal(store, person, links)]


def find_cell(patches: pd.DataFrame, cell: PatchName) -> pd.Series[bool]:
    """Tells which rows of a patient's patches are at a patch's place."""
    return (patches["slide"] == cell.slide) & (patches["x"] == cell.x) & (patches["y"] == cell.y)


def trace_batches(store: Store, batches: Iterable[str]) -> dict[str, list[Link]]:
    """Traces batches back to their deliveries: by batch both as links, the batch last."""
    deliveries = {each.batch: each for each in list_batches(store)}
    return {batch: _trace_batch(store, batch, deliveries.get(batch)) for batch in map(BatchId, batches)}


def _trace_batch(store: Store, batch: BatchId, delivery: Delivery | None) -> list[Link]:
    is_there = is_stored(store.settings, store.settings.batches / batch)
    told = {
        "kind": "batch",
        "name": batch[:12],
        "sha256": batch,
        "hash_of": "place, label and hash of pixels of every patch",
        "missing": "" if is_there else f"Its folder store/batches/{batch[:12]}… is gone.",
        "where": f"store/batches/{batch}" if is_there else "",
    }
    if delivery is None:
        return [Link.model_validate(told | {"missing": "The catalog does not know this batch."})]
    source = _trace_delivery(store, delivery)
    made = {"at": delivery.admitted_at, "by": "bcd", "previous": (source.key,)}
    facts = (f"{format_count(delivery.admitted, 'patch', 'es')} of {format_count(delivery.patients, 'patient')}.",)
    return [source, Link.model_validate(told | made | {"facts": facts})]


def _trace_delivery(store: Store, delivery: Delivery) -> Link:
    received = find_received(store.settings, delivery.hospital, delivery.name, delivery.id)
    declared = [one.declared for one in list_hospitals(store) if one.hospital == delivery.hospital]
    return Link(
        kind="delivery",
        name=f"{delivery.name} of {delivery.hospital} ({delivery.id[:12]})",
        sha256=delivery.id,
        hash_of="the hospital, and name and bytes of every file",
        at=delivery.admitted_at,
        by=f"hospital {delivery.hospital}",
        facts=(
            f"{format_count(delivery.files, 'file')}, {delivery.admitted_files:,} admitted,"
            f" {delivery.refused_files:,} refused.",
            *(f"The hospital was declared {sign_off}" for sign_off in declared),
            *(f"A person released refused files, {sign_off}" for sign_off in _list_releases(store, delivery.id)),
        ),
        where="" if received is None else received.relative_to(store.settings.home).as_posix(),
    )


def _list_releases(store: Store, delivery: str) -> list[SignOff]:
    column = tables.releases.c
    query = sa.select(column.by, column.reason, column.at).where(column.delivery == delivery).distinct()
    return [SignOff.of(row._mapping) for row in store.rows(query)]


def _trace_files(rows: pd.DataFrame, cell: PatchName | None, before: list[Link], person: Person) -> Link:
    hashes = sorted(set(rows["file_sha256"].dropna()))
    batch = str(rows["batch"].iloc[0])[:12]
    of = _name_cell(cell) if cell is not None else "/".join(person)
    several = len(hashes) > 1
    listed = "the sorted SHA-256 of each file, in lines of their own"
    return Link(
        kind="file",
        name=f"of {of} in batch {batch}",
        sha256=hash_text("\n".join(hashes)) if several else "".join(hashes),
        hash_of=listed if several else "the bytes of the delivered file",
        at=before[-1].at if before else None,
        by=before[-1].by if before else "",
        facts=(f"{format_count(len(hashes), 'file')}, {format_count(len(rows), 'patch', 'es')}.",),
        previous=keys_of(before),
        missing="" if hashes else "The index of the batch, which holds the hashes of its files, is gone.",
    )


def _trace_patch(store: Store, row: Any, cell: PatchName, made_of: list[Link]) -> Link:
    label = (
        "without a label" if row["label"] is None or row["label"] != row["label"] else f"with label {row['label']}"
    )
    facts = [f"Row {row['row']:,} of the batch, delivered {label}."]
    frame = find_stored_frame(store, row["hospital"], row["patient"], row["slide"])
    if frame is not None:
        (left, top), (width, height) = frame.corners([cell.x], [cell.y])[0], frame.step
        facts.append(
            f"bcd cut it from the slide: level 0, x {left:,.0f} to {left + width:,.0f},"
            f" y {top:,.0f} to {top + height:,.0f}."
        )
    return Link(
        kind="patch",
        name=_name_cell(cell),
        sha256=row["pixel_sha256"],
        hash_of="its pixels, 50x50 RGB",
        at=made_of[0].at,
        by=made_of[0].by,
        facts=tuple(facts),
        previous=keys_of(made_of),
    )


def _trace_labels(store: Store, person: Person, cell: PatchName | None, labelled: Iterable[Link]) -> list[Link]:
    """Returns a link for each sign-off under which labels of the patient were revised, the oldest first."""
    column = tables.label_revisions.c
    query = (
        sa.select(column.by, column.reason, column.at, sa.func.count().label("patches"))
        .where(column.hospital == person[0], column.patient == person[1])
        .group_by(column.by, column.reason, column.at)
        .order_by(sa.func.min(column.number))
    )
    if cell is not None:
        query = query.where(column.slide == cell.slide, column.x == cell.x, column.y == cell.y)
    return [
        Link(
            kind="labels",
            name=f"revision {number} of {_name_cell(cell) if cell else '/'.join(person)}",
            at=row.at,
            by=row.by,
            facts=(f"{format_count(row.patches, 'label')} revised: {row.reason}",),
            previous=keys_of(labelled),
        )
        for number, row in enumerate(store.rows(query), 1)
    ]


def _tell_erased(store: Store, batch: BatchId, person: Person) -> tuple[str, ...]:
    column = tables.erasures.c
    query = (
        sa.select(column.patches, column.erased_at)
        .join_from(tables.erasures, tables.batches)
        .where(tables.batches.c.id == batch, column.hospital == person[0], column.patient == person[1])
    )
    return tuple(
        f"The pixels of {format_count(row.patches, 'patch', 'es')} of {'/'.join(person)} were erased on"
        f" {row.erased_at:%Y-%m-%d}."
        for row in store.rows(query)
    )


def _trace_withdrawal(store: Store, person: Person, links: Iterable[Link]) -> list[Link]:
    found = [one for one in list_withdrawals(store, Hospital(person[0])) if one.person == person]
    if not found:
        return []
    from bcd.retention.patients import erase_withdrawn

    (withdrawal,) = found
    sign_off = withdrawal.sign_off
    planned = [one for one in erase_withdrawn(store, dry_run=True) if (one.hospital, one.patient) == person]
    facts = [f"Reason: {sign_off.reason}"]
    for one in planned:
        kept = sum(one.kept.values())
        facts += [f"Not erased yet: {thing}; `bcd patient erase` does it." for thing in one.removed]
        facts += [f"Kept: the pixels of {kept:,} patches, which {', '.join(one.models)} need."] if kept else []
        facts += [f"Remains: {sentence}" for sentence in one.remains]
    batches = [link for link in links if link.kind == "batch"]
    return [
        Link(
            kind="withdrawal",
            name="/".join(person),
            at=sign_off.at,
            by=sign_off.by,
            facts=tuple(facts),
            previous=keys_of(batches),
        )
    ]


def _name_cell(cell: PatchName) -> str:
    return f"{cell.patient}_idx{cell.slide}_x{cell.x}_y{cell.y}"
