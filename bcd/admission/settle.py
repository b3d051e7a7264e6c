"""Settling: what was found in a delivery becomes a batch, a quarantine and rows of the catalog, or nothing does.

One process settles at a time. Batch and quarantine are in place before one transaction makes them count; a note of
what is about to be placed is written first, so that whoever settles next clears away what a killed process left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bcd.admission.duplicates import refuse_duplicates, refuse_known, refuse_withdrawn
from bcd.admission.findings import Findings, commonest_rule, count_rules
from bcd.admission.index import (
    count_delivered_flags,
    find_far_slides,
    make_batch_index,
    measure_delivered_stains,
)
from bcd.admission.plan import UNLABELLED
from bcd.admission.quarantine import keep_refused, list_whole
from bcd.admission.rules import DeliveryError, Refusal
from bcd.admission.sources.source import Source
from bcd.errors import BcdError
from bcd.options import Microns
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.batches import write_batch
from bcd.store.catalog import retry_while_database_away
from bcd.store.deliveries import Delivery, RefusedFile, Settlement, record_delivery
from bcd.store.delivery_queries import find_stored_delivery
from bcd.store.hospitals import COARSEST
from bcd.store.known import known_slides
from bcd.store.objects import list_stored, remove, require, write_stored
from bcd.store.spool import Spool
from bcd.store.store import Store


@dataclass(frozen=True)
class Draft:
    """A delivery that was looked at and is to be settled.

    Attributes:
        name: Name of the folder or archive, as it may be seen.
        hospital: Where it came from.
        source: The delivery, open.
        spool: The decoded patches.
        findings: What was found.
        hides: Whether the hospital's identifiers were replaced, so that nothing else may name somebody either.
        is_release: Whether a person chose these files again: what they contradict is marked already.
        spacing: In µm per pixel, as it was told for slides.
        coarsest: In µm per pixel, as the hospital's slides may be.
    """

    name: str
    hospital: Hospital
    source: Source
    spool: Spool
    findings: Findings
    hides: bool
    is_release: bool = False
    spacing: Microns | None = None
    coarsest: Microns = COARSEST

    @property
    def identity(self) -> str:
        """The delivery's hash: of the hospital, the name and bytes of every file, and what was told of slides."""
        digest = hashlib.sha256(self.hospital.encode())
        if self.spacing is not None:  # slides that were refused without one may be admitted with it
            digest.update(f"\nspacing\t{self.spacing!r}".encode())
        if self.coarsest != COARSEST:  # and so may those that were refused as too coarse
            digest.update(f"\ncoarsest\t{self.coarsest!r}".encode())
        for lines in self.findings.list_files():
            digest.update(lines)
        return digest.hexdigest()


def settle(store: Store, draft: Draft) -> tuple[Delivery, bool]:
    """Settles a delivery, waiting for whoever settles another one, and for a database that is away.

    Returns:
        What became of it, and whether it had been settled before. Where nothing in it is admissible, that is settled
        under another hash than its own: handed over again, it is looked at again.

    Raises:
        DeliveryError: Nothing in a release is admissible; then nothing is stored.
    """
    identity = draft.identity
    tried = False

    def attempt() -> tuple[Delivery, bool]:
        nonlocal tried
        with store.lock("admission") as confirm:
            clear_unsettled_batches(store)
            record = find_stored_delivery(store, identity)
            if record is not None:
                return record, not tried  # entered by this process, if only its answer was lost
            tried = True
            draft.findings.start_over()
            try:
                return _settle_batch(store, draft, identity, confirm)
            except (OSError, sa.exc.OperationalError):  # what was placed on a full disk should not keep it full
                clear_unsettled_batches(store)
                raise

    return retry_while_database_away(attempt)


def clear_unsettled_batches(store: Store) -> None:
    """Removes what a killed process placed and did not enter; only under the lock "admission"."""
    settings = store.settings
    # Not what was still being written; of another machine's process too, which may not come back.
    for note in list_stored(settings, _unsettled_folder(settings), "[0-9a-f]*.json"):
        if not require(settings, note).exists():  # another machine has cleared it
            continue
        placed = json.loads(note.read_text("utf-8"))
        if find_stored_delivery(store, placed["delivery"]) is None:
            remove(settings, settings.quarantine / placed["delivery"])
            if placed["batch"] and not _holds_batch(store, placed["batch"]):
                remove(settings, settings.batches / placed["batch"])
        remove(settings, note)


def _settle_batch(store: Store, draft: Draft, identity: str, confirm: Callable[[], None]) -> tuple[Delivery, bool]:
    findings = draft.findings
    refuse_withdrawn(store, draft.hospital, findings)
    doubts = refuse_known(store, draft.hospital, findings)
    refuse_duplicates(findings)
    refusals = findings.refusals()
    standing = findings.standing()
    is_known = {"already-admitted", "withdrawn"} & {refusal.rule for refusal in refusals.values()}
    conflicts = [] if draft.is_release else [(known, found.rule, found.message) for known, found in doubts.conflicts]
    reason = None
    if standing.empty and not is_known and not conflicts:
        if not refusals:
            raise DeliveryError("empty", f"{draft.name} holds no files.")
        reason = findings.explain(draft.name, refusals)
        if draft.is_release:
            raise DeliveryError(commonest_rule(count_rules(refusals)), reason)
        identity = hashlib.sha256(f"{identity}\n{reason}".encode()).hexdigest()
        known = find_stored_delivery(store, identity)
        if known is not None:
            return known, True
    stains = measure_delivered_stains(standing)
    known_stains = known_slides(store)
    index = make_batch_index(draft.hospital, findings, standing, known_stains, stains)
    batch = index.identity if index.rows else None
    note = _unsettled_folder(store.settings) / f"{identity}.json"
    write_stored(store.settings, note, json.dumps({"delivery": identity, "batch": batch}))
    if batch is not None:
        write_batch(store.settings, index, draft.spool, standing["spool_row"].to_numpy())
    kept = keep_refused(store.settings, identity, draft.source, findings, refusals, strip=draft.hides)
    record = Delivery(
        id=identity,
        hospital=draft.hospital,
        name=draft.name,
        batch=batch,
        files=findings.files,
        admitted_files=findings.files - len(refusals) - len(findings.ignored),
        admitted=index.rows,
        refused=count_rules(refusals),
        ignored=len(findings.ignored),
        patients=len({stain.patient for stain in stains}),
        positive=int((standing["label"] == 1).sum()),
        unlabelled=int((standing["label"] == UNLABELLED).sum()),
        flags=count_delivered_flags(standing, find_far_slides(known_stains, stains)),
        label_rows=findings.label_rows,
        unmatched_rows=findings.unmatched_rows,
        label_note=" ".join(findings.label_notes),
        reason=reason,
        conflicts=len(conflicts),
    )
    present = {(stain.patient, stain.slide) for stain in stains}
    complete = [one for one in findings.complete if (one.patient, one.slide) in present]
    frames = [one for one in findings.frames if (one.patient, one.slide) in present]
    settlement = Settlement(record, index, kept, conflicts, doubts.labels, stains, complete, frames)
    record_delivery(store, settlement, confirm)
    with suppress(OSError, BcdError):  # it is admitted; who settles next removes the note
        remove(store.settings, note)
    return record, False


def settle_whole(store: Store, hospital: Hospital, *, name: str, refusal: Refusal, sha256: str) -> Delivery:
    """Settles a delivery that is refused without a look at its files; the same again changes nothing.

    Args:
        store: Where to.
        hospital: Where it comes from.
        name: Its name as it may be seen.
        refusal: Why; the message is a whole sentence that names the delivery.
        sha256: What tells the delivery from others.
    """
    whole = f"{hospital}\n{name}\n{refusal.rule}\n{sha256}"
    identity = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
    entry = RefusedFile(name, refusal.rule, refusal.message, sha256, None)
    record = Delivery(
        id=identity,
        hospital=hospital,
        name=name,
        batch=None,
        files=1,
        admitted_files=0,
        admitted=0,
        refused={refusal.rule: 1},
        ignored=0,
        patients=0,
        positive=0,
        unlabelled=0,
        flags={},
        reason=refusal.message,
    )

    def attempt() -> Delivery:
        with store.lock("admission") as confirm:
            known = find_stored_delivery(store, identity)
            if known is None:
                list_whole(store.settings, identity, entry)
                record_delivery(store, Settlement(record, refusals=[entry]), confirm)
            return known or record

    return retry_while_database_away(attempt)


def _holds_batch(store: Store, batch: str) -> bool:
    return bool(store.rows(sa.select(tables.batches.c.id).where(tables.batches.c.id == batch)))


def _unsettled_folder(settings: Settings) -> Path:
    return settings.batches.parent / "unsettled"
