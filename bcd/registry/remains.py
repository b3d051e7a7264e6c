"""What is stored of a withdrawn patient beside pixels: files in the quarantine, deliveries, and what has to stay."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.patches import Hospital, PatchName, PatientId
from bcd.store import tables
from bcd.store.withdrawals import Person

if TYPE_CHECKING:
    from bcd.settings import Settings
    from bcd.store.catalog import Catalog

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


def names_patient(name: str, patient: str) -> bool:
    """Whether the path of a delivered file names a patient: by the patch's name, a folder's, or a word of the name.

    Example:
        >>> names_patient("8867/1/scan.tif", "8867"), names_patient("9999/1/9999_idx5_x1_y1.png", "1")
        (True, False)
    """
    *folders, file = PurePosixPath(name).parts or ("",)
    if folders and folders[-1] in {"0", "1"}:  # a label
        folders.pop()
    patch = PatchName.parse(file)
    named = {patch.patient} if patch is not None else set(_WORD.findall(file))
    return patient in named or patient in folders


def find_quarantined(catalog: Catalog, hospital: Hospital, patient: PatientId) -> list[Quarantined]:
    """Finds the refused files of a patient by their names, those without bytes too."""
    refusals = tables.refusals.c
    query = (
        sa.select(refusals.number, refusals.delivery, refusals.kept, refusals.name)
        .join_from(tables.refusals, tables.deliveries)
        .where(tables.deliveries.c.hospital == hospital, refusals.name.contains(patient, autoescape=True))
        .order_by(refusals.number)
    )
    with catalog.engine.connect() as connection:
        rows = connection.execute(query).all()
    return [Quarantined(row.number, row.delivery, row.kept) for row in rows if names_patient(row.name, patient)]


def find_delivered(
    settings: Settings, catalog: Catalog, person: Person, quarantined: Collection[Quarantined]
) -> list[Delivered]:
    """Finds the deliveries that brought patches or refused files of a patient, oldest first."""
    patches, deliveries, refusals = tables.patches.c, tables.deliveries.c, tables.refusals.c
    brought = (
        sa.select(tables.batches.c.delivery)
        .join_from(tables.patches, tables.batches)
        .where(patches.hospital == person[0], patches.patient == person[1])
    )
    hidden = sa.select(refusals.delivery).where(refusals.name.contains("hidden-"), refusals.kept.is_not(None))
    with catalog.engine.connect() as connection:
        ids = {*connection.scalars(brought), *(file.delivery for file in quarantined)}
        query = sa.select(deliveries.id, deliveries.name, deliveries.id.in_(hidden).label("hides")).where(
            deliveries.hospital == person[0]
        )
        rows = connection.execute(query.order_by(deliveries.admitted_at)).all()
    found = []
    for row in rows:
        if row.id in ids:
            path = PurePosixPath(row.name)
            folder = settings.received / person[0]
            aside = settings.set_aside / person[0] / path.name
            places = [folder / f"{path.stem}-{row.id[:12]}{path.suffix}", folder / path.name, aside]
            received = next((place for place in places if place.exists()), None)
            found.append(Delivered(row.id, row.name, received, bool(row.hides)))
    return found


def state_remains(
    catalog: Catalog, person: Person, snapshots: Collection[str], deliveries: Collection[Delivered]
) -> list[str]:
    """Says in sentences what stays of a patient after the erasure."""
    ledger = tables.ledger.c
    counted = sa.select(sa.func.count()).where(ledger.hospital == person[0], ledger.patient == person[1])
    with catalog.engine.connect() as connection:
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
    stated.append("Deliveries that the hospital keeps elsewhere, and backups: bcd does not know them.")
    return stated
