"""Complete slides: those of which every patch with tissue was handed over.

bcd makes a slide complete where it cuts it into patches itself; a hospital declares it with the delivery, or later
(`declare_complete_slides`), which has the last word. It is never guessed from the number of patches: what looks at a
patch's neighbours may be fitted and evaluated on these slides alone.

Examples:
    >>> sign_off = SignOff("Dr Lee", "the whole slide was cut")
    >>> declare_complete_slides(store, "8867", hospital="east", sign_off=sign_off)  # doctest: +SKIP
    [('east', '8867', '5')]
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

import sqlalchemy as sa

from bcd.errors import BcdError
from bcd.patches import SLIDE, Hospital, PatientId, Person, Slide, SlideId
from bcd.store import tables
from bcd.store.patients import find_patient
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

Origin = Literal["tiled", "declared"]
"""Why a slide is complete: bcd cut it into patches, or the hospital says so."""


class CompleteSlide(NamedTuple):
    """A complete slide of a delivery."""

    patient: PatientId
    slide: SlideId
    origin: Origin


def list_complete_slides(store: Store) -> dict[Slide, Origin]:
    """Returns the complete slides by hospital, patient and slide, and why each is complete."""
    with store.read() as connection:
        return complete_slides(connection)


def complete_slides(connection: sa.Connection, person: Person | None = None) -> dict[Slide, Origin]:
    """As `list_complete_slides`, within a transaction; of one hospital and patient, or of all."""
    delivered, said = tables.complete_slides.c, tables.completeness.c
    query = sa.select(delivered.hospital, delivered.patient, delivered.slide, delivered.origin)
    later = sa.select(said.hospital, said.patient, said.slide, said.complete).order_by(said.number)
    if person is not None:
        query = query.where(delivered.hospital == person[0], delivered.patient == person[1])
        later = later.where(said.hospital == person[0], said.patient == person[1])
    found: dict[Slide, Origin] = {tuple(row[:3]): row.origin for row in connection.execute(query)}
    for *slide, complete in connection.execute(later):
        if complete:
            found.setdefault(tuple(slide), "declared")
        else:
            found.pop(tuple(slide), None)
    return found


def find_complete(store: Store, hospital: Hospital, patient: PatientId) -> frozenset[Slide]:
    """Returns the complete slides of one patient."""
    with store.read() as connection:
        return frozenset(complete_slides(connection, (hospital, patient)))


def declare_complete_slides(
    store: Store,
    patient: str,
    *,
    hospital: str | None,
    slides: Collection[str] = (),
    complete: bool = True,
    sign_off: SignOff,
) -> list[Slide]:
    """Declares admitted slides of a patient complete, or a part; the same again changes nothing.

    Args:
        store: The open store.
        patient: The patient; of a raw hospital the pseudonym or the hospital's own identifier.
        hospital: The patient's hospital; may be left out where only one has such a patient.
        slides: Which slides; none: all of the patient.
        complete: Whether every patch with tissue of theirs is in the store.
        sign_off: Who says it, and why.

    Returns:
        The slides of which it was not known.

    Raises:
        BcdError: There is no such patient, or no such slide of this patient.
    """
    person = find_patient(store, patient, hospital)
    patches = tables.patches.c
    there = sa.select(patches.slide).where(patches.hospital == person[0], patches.patient == person[1]).distinct()
    with store.write() as connection:
        known = sorted(connection.scalars(there))
        if missing := sorted(set(slides) - set(known)):
            raise BcdError(
                f"Patient {'/'.join(person)} has no slide {', '.join(missing)}; the slides are {', '.join(known)}.",
                "Name one of them with --slide, or leave it out for all.",
            )
        already = complete_slides(connection, person)
        chosen: list[Slide] = [(*person, slide) for slide in known if not slides or slide in slides]
        new = [slide for slide in chosen if (slide in already) != complete]
        rows = [{**dict(zip(SLIDE, slide, strict=True)), "complete": complete, **vars(sign_off)} for slide in new]
        if rows:
            connection.execute(sa.insert(tables.completeness), rows)
    return new


def record_complete(connection: sa.Connection, hospital: str, batch: int, slides: list[CompleteSlide]) -> None:
    """Enters complete slides of a batch; what is known to be complete stays as it is."""
    columns = tables.complete_slides.c
    query = sa.select(columns.patient, columns.slide).where(columns.hospital == hospital)
    known = {tuple(row) for row in connection.execute(query)}
    new = {each[:2]: each for each in slides if each[:2] not in known}  # several files may be one slide
    if new:
        rows = [{"hospital": hospital, "batch": batch, **each._asdict()} for each in new.values()]
        connection.execute(sa.insert(tables.complete_slides), rows)
