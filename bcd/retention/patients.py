"""Erasure: removes what is stored of withdrawn patients once no registered model's record needs it.

What goes: the patients' pixels in batches, which are overwritten with zeros, and every prepared copy; their scores;
their files in the quarantine, and the pictures in admission reports. What stays is stated, patient by patient.
Pixels stay where a registered model was trained on a snapshot that holds them: that version has to be deleted first.

Every step may be repeated and pixels go last, so a run that was killed is completed by the next one.

Examples:
    >>> for erasure in erase_withdrawn(store, dry_run=True):  # doctest: +SKIP
    ...     print(erasure.patient, erasure.models, erasure.remains)
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.admission.received import find_received
from bcd.patches import BatchId, Hospital, PatchName, PatientId, Person, SnapshotId
from bcd.progress import track_progress
from bcd.retention import LOCK
from bcd.store import tables
from bcd.store.catalog import retry_while_database_away
from bcd.store.erasures import ErasedRows, erase_batch_pixels, is_batch_row_erased, mark_batch_erased
from bcd.store.objects import holds_any, in_use, is_stored, remove, remove_files, tidy
from bcd.store.withdrawals import Withdrawal, find_snapshots_of_withdrawn, list_withdrawals

if TYPE_CHECKING:
    from bcd.gate.history import VersionSummary
    from bcd.settings import Settings
    from bcd.store.store import Store

_WORD = re.compile(r"[A-Za-z0-9-]+", re.ASCII)


@dataclass(frozen=True)
class Quarantined:
    """A refused file of a patient.

    Attributes:
        number: Its number in the catalog.
        delivery: The delivery's id.
        kept: Its name in the quarantine; None where its bytes are not there.
    """

    number: int
    delivery: str
    kept: str | None

    def path(self, settings: Settings) -> Path:
        """Where it lies."""
        assert self.kept is not None
        return settings.quarantine / self.delivery / self.kept


@dataclass(frozen=True)
class Delivered:
    """A delivery that brought files of a patient.

    Attributes:
        id: Hash of hospital, names and bytes.
        name: Name of the folder or archive.
        received: Where it lies in `received/`; None where it does not.
        hides_names: Whether it has quarantined files whose names are hidden, so that nobody can say whose they are.
    """

    id: str
    name: str
    received: Path | None
    hides_names: bool


def path_names_erased(name: str, patient: str) -> bool:
    """Whether the path of a delivered file names a patient: by the patch's name, a folder's, or a word of the name.

    Examples:
        >>> path_names_erased("8867/1/scan.tif", "8867"), path_names_erased("9999/1/9999_idx5_x1_y1.png", "1")
        (True, False)
    """
    *folders, file = PurePosixPath(name).parts or ("",)
    if folders and folders[-1] in {"0", "1"}:  # a label
        folders.pop()
    patch = PatchName.parse(file)
    named = {patch.patient} if patch is not None else set(_WORD.findall(file))
    return patient in named or patient in folders


def _find_quarantined(store: Store, hospital: Hospital, patient: PatientId) -> list[Quarantined]:
    """Finds the refused files of a patient by their names, those without bytes too."""
    refusals = tables.refusals.c
    query = (
        sa.select(refusals.number, refusals.delivery, refusals.kept, refusals.name)
        .join_from(tables.refusals, tables.deliveries)
        .where(tables.deliveries.c.hospital == hospital, refusals.name.contains(patient, autoescape=True))
        .order_by(refusals.number)
    )
    rows = store.rows(query)
    return [Quarantined(row.number, row.delivery, row.kept) for row in rows if path_names_erased(row.name, patient)]


def _find_delivered(store: Store, person: Person, quarantined: Collection[Quarantined]) -> list[Delivered]:
    """Finds the deliveries that brought patches or refused files of a patient, oldest first."""
    patches, deliveries, refusals = tables.patches.c, tables.deliveries.c, tables.refusals.c
    brought = (
        sa.select(tables.batches.c.delivery)
        .join_from(tables.patches, tables.batches)
        .where(patches.hospital == person[0], patches.patient == person[1])
    )
    hidden = sa.select(refusals.delivery).where(refusals.name.contains("hidden-"), refusals.kept.is_not(None))
    with store.read() as connection:
        ids = {*connection.scalars(brought), *(file.delivery for file in quarantined)}
        query = sa.select(deliveries.id, deliveries.name, deliveries.id.in_(hidden).label("hides")).where(
            deliveries.hospital == person[0]
        )
        rows = connection.execute(query.order_by(deliveries.admitted_at)).all()
    found = []
    for row in rows:
        if row.id in ids:
            received = find_received(store.settings, person[0], row.name, row.id)
            found.append(Delivered(row.id, row.name, received, bool(row.hides)))
    return found


def _state_remains(
    store: Store, person: Person, snapshots: Collection[str], deliveries: Collection[Delivered]
) -> list[str]:
    """Says in sentences what stays of a patient after the erasure."""
    ledger = tables.ledger.c
    counted = sa.select(sa.func.count()).where(ledger.hospital == person[0], ledger.patient == person[1])
    with store.read() as connection:
        scored = connection.scalar(counted.select_from(tables.ledger))
    stated = [
        f"The identifier {person[1]}, with places, hashes and labels of its patches, in the catalog, in the index of"
        " each batch and in the quarantine's lists: another delivery of the patient is known by them."
    ]
    if snapshots:
        listed = ", ".join(sorted(snapshot[:12] for snapshot in snapshots))
        stated.append(
            f"The same in snapshots {listed}, and in what was computed on them: MLflow artifacts and reports, work/."
        )
    if scored:
        stated.append(f"{scored} rows of the ledger, which say that the patient was scored and not how.")
    received = [str(delivery.received) for delivery in deliveries if delivery.received]
    if received:
        stated.append(
            f"Delivered archives, which bcd does not rewrite; delete or repack them: {', '.join(received)}."
        )
    hidden = [delivery.id[:12] for delivery in deliveries if delivery.hides_names]
    if hidden:
        stated.append(
            f"Quarantined files with hidden names, which nobody can tell apart, in deliveries {', '.join(hidden)}:"
            " look at store/quarantine."
        )
    if store.settings.store_url:
        stated.append(
            f"Copies that other machines have of what lies at {store.settings.store_url}: each removes its own within"
            " an hour of using the store."
        )
    stated.append(
        "Deliveries that the hospital keeps elsewhere, backups, and what `bcd patient export` wrote: bcd does not"
        " know them."
    )
    return stated


@dataclass(frozen=True)
class PatientErasure:
    """What becomes of a withdrawn patient's data, as it is when the command has ended.

    Attributes:
        hospital: The patient's hospital.
        patient: The withdrawn patient.
        withdrawn_at: Since when, in UTC.
        erased: Number of patches without pixels, by batch.
        kept: Number of patches with pixels, by batch.
        models: The registered models that need what is kept, each with its snapshot.
        removed: What goes in this run: pixels by batch, folders, and files by folder, relative to BCD_HOME.
        remains: What stays, in sentences.
    """

    hospital: Hospital
    patient: PatientId
    withdrawn_at: datetime
    erased: dict[BatchId, int]
    kept: dict[BatchId, int]
    models: list[str]
    removed: list[str]
    remains: list[str]


@dataclass(frozen=True)
class _Plan:
    """What is to be done for one patient."""

    withdrawal: Withdrawal
    rows: dict[BatchId, list[int]]
    models: dict[BatchId, set[str]]
    due: list[BatchId]
    quarantined: list[Quarantined]
    scores: list[Path]
    deliveries: list[Delivered]
    remains: list[str]


def erase_withdrawn(store: Store, *, dry_run: bool = False) -> list[PatientErasure]:
    """Removes what may go of every withdrawn patient, and says for each what remains and why.

    Args:
        store: The open store.
        dry_run: Whether to say only what would be done.

    Raises:
        BcdError: The registry does not answer, so that nobody knows what its models need.
    """
    with nullcontext() if dry_run else store.lock(LOCK):  # who only asks does not wait for a backup
        plans = _make_plans(store)
        if not dry_run:
            _carry_out(store, plans)
            _tidy_store(store, plans)
    return [_summarise_erasure(store.settings, plan) for plan in plans]


def find_models_of_erased(versions: Iterable[VersionSummary]) -> dict[str, list[str]]:
    """Returns the registered models by the snapshot that they were trained on, as `bcd-idc/3 (snapshot 0a1b)`."""
    found: dict[str, list[str]] = {}
    for version in versions:
        found.setdefault(version.snapshot, []).append(f"{version.name} (snapshot {version.snapshot[:12]})")
    return found


def _make_plans(store: Store) -> list[_Plan]:
    withdrawals = list_withdrawals(store)
    if not withdrawals:
        return []
    from bcd.gate.history import list_versions_with_verdicts

    models = find_models_of_erased(list_versions_with_verdicts(store.settings))
    snapshots = find_snapshots_of_withdrawn(store.settings, [withdrawal.person for withdrawal in withdrawals])
    return [_make_plan(store, one, snapshots[one.person], models) for one in withdrawals]


def _make_plan(
    store: Store,
    withdrawal: Withdrawal,
    snapshots: Mapping[SnapshotId, set[BatchId]],
    models: Mapping[str, Sequence[str]],
) -> _Plan:
    rows = _find_rows(store, withdrawal.person)
    needed: dict[BatchId, set[str]] = {batch: set() for batch in rows}
    for snapshot, batches in snapshots.items():
        for batch in batches & rows.keys():
            needed[batch].update(models.get(snapshot, ()))
    quarantined = _find_quarantined(store, withdrawal.hospital, withdrawal.patient)
    deliveries = _find_delivered(store, withdrawal.person, quarantined)
    return _Plan(
        withdrawal,
        rows,
        needed,
        [
            batch
            for batch in rows
            if not needed[batch] and not is_batch_row_erased(store.settings, batch, rows[batch])
        ],
        [one for one in quarantined if one.kept],
        _list_score_folders(store.settings, withdrawal),
        deliveries,
        _state_remains(store, withdrawal.person, snapshots, deliveries),
    )


def _list_score_folders(settings: Settings, withdrawal: Withdrawal) -> list[Path]:
    """Returns where scores of a patient lie: those of reports, and those that a challenger made in shadow."""
    folders = (folder / withdrawal.hospital / withdrawal.patient for folder in (settings.scores, settings.shadow))
    return [folder for folder in folders if holds_any(settings, folder)]


def _find_rows(store: Store, person: Person) -> dict[BatchId, list[int]]:
    """Returns the rows of a patient's patches, by batch."""
    patches = tables.patches.c
    query = (
        sa.select(tables.batches.c.id, patches.row)
        .join_from(tables.patches, tables.batches)
        .where(patches.hospital == person[0], patches.patient == person[1])
        .order_by(tables.batches.c.number, patches.row)
    )
    rows: dict[BatchId, list[int]] = {}
    for batch, row in store.rows(query):
        rows.setdefault(BatchId(batch), []).append(row)
    return rows


def _carry_out(store: Store, plans: Sequence[_Plan]) -> None:
    by_batch: dict[BatchId, dict[Person, _Plan]] = {}
    for plan in plans:
        for batch in plan.due:
            by_batch.setdefault(batch, {})[plan.withdrawal.person] = plan
    for batch, due in by_batch.items():
        mark_batch_erased(store.settings, batch, [_erased_rows(plan, batch) for plan in due.values()])
        retry_while_database_away(partial(_record, store, batch, list(due.values())))
    for plan in plans:
        if plan.due or plan.quarantined:
            _renew_reports(store, plan)
        _remove_files(store, plan)
    if not by_batch:
        return
    shutil.rmtree(store.settings.prepared, ignore_errors=True)  # copies of what is about to go
    with track_progress("Erasing pixels", total=len(by_batch)) as advance:
        for batch, due in by_batch.items():
            erase_batch_pixels(store.settings, batch, {person: plan.rows[batch] for person, plan in due.items()})
            advance(1)


def _tidy_store(store: Store, plans: Sequence[_Plan]) -> None:
    """Deletes from the bucket what an earlier run was killed at deleting."""
    settings = store.settings
    folders = {settings.batches / batch for plan in plans for batch in plan.rows}
    folders |= {settings.quarantine / delivery.id for plan in plans for delivery in plan.deliveries}
    for folder in sorted(folders):
        tidy(settings, folder)


def _erased_rows(plan: _Plan, batch: BatchId) -> ErasedRows:
    hospital, patient = plan.withdrawal.person
    return ErasedRows(hospital, patient, plan.withdrawal.sign_off.at.isoformat(), plan.rows[batch])


def _record(store: Store, batch: BatchId, plans: Sequence[_Plan]) -> None:
    column = tables.erasures.c
    with store.write() as connection:
        number = connection.execute(
            sa.select(tables.batches.c.number).where(tables.batches.c.id == batch)
        ).scalar_one()
        query = sa.select(column.hospital, column.patient).where(column.batch == number)
        known = {(row.hospital, row.patient) for row in connection.execute(query)}
        for plan in plans:
            hospital, patient = plan.withdrawal.person
            if (hospital, patient) not in known:
                values = {"hospital": hospital, "patient": patient, "batch": number, "patches": len(plan.rows[batch])}
                connection.execute(sa.insert(tables.erasures).values(**values, erased_at=datetime.now(UTC)))


def _renew_reports(store: Store, plan: _Plan) -> None:
    from bcd.admission.report import admission_report_path, write_admission_report

    for delivery in plan.deliveries:
        if is_stored(store.settings, admission_report_path(store.settings, delivery.id)):
            write_admission_report(store, delivery.id)


def _remove_files(store: Store, plan: _Plan) -> None:
    for folder in plan.scores:
        remove(store.settings, folder)
    if not plan.quarantined:
        return
    for delivery, files in groupby(plan.quarantined, key=lambda file: file.delivery):
        names = [str(file.kept) for file in files]
        with in_use(store.settings, store.settings.quarantine / delivery) as folder:
            remove_files(store.settings, folder, names)
    numbers = [file.number for file in plan.quarantined]

    def forget() -> None:
        with store.write() as connection:
            for start in range(0, len(numbers), 500):
                chosen = tables.refusals.c.number.in_(numbers[start : start + 500])
                connection.execute(sa.update(tables.refusals).where(chosen).values(kept=None))

    retry_while_database_away(forget)


def _summarise_erasure(settings: Settings, plan: _Plan) -> PatientErasure:
    needed = {batch for batch, models in plan.models.items() if models}
    pixels = [
        f"pixels of {len(rows):,} patches in batch {batch[:12]}"
        for batch, rows in plan.rows.items()
        if batch in plan.due
    ]
    folders = [str(folder.relative_to(settings.home)) for folder in plan.scores]
    refused = Counter(file.path(settings).parent for file in plan.quarantined)
    files = [f"{count:,} files of {folder.relative_to(settings.home)}" for folder, count in refused.items()]
    return PatientErasure(
        hospital=plan.withdrawal.hospital,
        patient=plan.withdrawal.patient,
        withdrawn_at=plan.withdrawal.sign_off.at,
        erased={batch: len(rows) for batch, rows in plan.rows.items() if batch not in needed},
        kept={batch: len(rows) for batch, rows in plan.rows.items() if batch in needed},
        models=sorted(set().union(*plan.models.values())),
        removed=pixels + folders + files,
        remains=plan.remains,
    )
