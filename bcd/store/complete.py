"""Complete slides: those of which every patch with tissue was handed over.

bcd makes a slide complete where it cuts it into patches itself; a hospital can declare it. It is never guessed from
the number of patches: what looks at a patch's neighbours may be fitted and evaluated on these slides alone.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import sqlalchemy as sa

from bcd.patches import Slide
from bcd.store import tables
from bcd.store.store import Store

Origin = Literal["tiled", "declared"]
"""Why a slide is complete: bcd cut it into patches, or the hospital says so."""


class CompleteSlide(NamedTuple):
    """A complete slide of a delivery."""

    patient: str
    slide: str
    origin: Origin


def list_complete_slides(store: Store) -> dict[Slide, Origin]:
    """Returns the complete slides by hospital, patient and slide, and why each is complete."""
    with store.read() as connection:
        return complete_slides(connection)


def find_complete(store: Store, hospital: str, patient: str) -> frozenset[Slide]:
    """Returns the complete slides of one patient."""
    columns = tables.complete_slides.c
    query = sa.select(columns.slide).where(columns.hospital == hospital, columns.patient == patient)
    return frozenset((hospital, patient, row.slide) for row in store.rows(query))


def complete_slides(connection: sa.Connection) -> dict[Slide, Origin]:
    """As `list_complete_slides`, within a transaction."""
    columns = tables.complete_slides.c
    query = sa.select(columns.hospital, columns.patient, columns.slide, columns.origin)
    return {(row.hospital, row.patient, row.slide): row.origin for row in connection.execute(query)}


def record_complete(connection: sa.Connection, hospital: str, batch: int, slides: list[CompleteSlide]) -> None:
    """Enters complete slides of a batch; what is known to be complete stays as it is."""
    columns = tables.complete_slides.c
    query = sa.select(columns.patient, columns.slide).where(columns.hospital == hospital)
    known = {tuple(row) for row in connection.execute(query)}
    new = {each[:2]: each for each in slides if each[:2] not in known}  # several files may be one slide
    if new:
        rows = [{"hospital": hospital, "batch": batch, **each._asdict()} for each in new.values()]
        connection.execute(sa.insert(tables.complete_slides), rows)
