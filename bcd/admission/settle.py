"""Settling: what was found in a delivery becomes a batch, a quarantine and rows of the catalog, or nothing does.

One process settles at a time. Batch and quarantine are in place before one transaction makes them count; a note of
what is about to be placed is written first, so that whoever settles next clears away what a killed process left.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from bcd.admission.duplicates import refuse_duplicates, refuse_known, refuse_withdrawn
from bcd.admission.findings import Findings, count_rules
from bcd.admission.index import count_flags, make_index, measure_stains
from bcd.admission.plan import UNLABELLED
from bcd.admission.quarantine import keep_refused
from bcd.admission.sources.source import Source
from bcd.errors import BcdError
from bcd.files import whole_file
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.batches import batch_id, write_batch
from bcd.store.catalog import Catalog, patiently
from bcd.store.deliveries import (
    DeliveryRecord,
    Settlement,
    find_delivery,
    record_delivery,
)
from bcd.store.delivery_queries import withdrawn_patients
from bcd.store.known import known_slides
from bcd.store.spool import Spool


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
    """

    name: str
    hospital: Hospital
    source: Source
    spool: Spool
    findings: Findings
    hides: bool
    is_release: bool = False

    @property
    def identity(self) -> str:
        """The delivery's hash: of the hospital, and of the name and bytes of every file."""
        findings = self.findings
        name_of = findings.names.__getitem__
        digest = hashlib.sha256(self.hospital.encode())
        members = (member for member in range(findings.files) if member not in findings.ignored)
        # A line a file, in the order of the lines; never all lines at once, which would be most of the memory.
        for name, alike in groupby(sorted(members, key=name_of), key=name_of):
            for file in sorted(findings.digests[member].tobytes().hex() for member in alike):
                digest.update(f"\n{name}\t{file}".encode())
        return digest.hexdigest()


def settle(settings: Settings, catalog: Catalog, draft: Draft) -> tuple[DeliveryRecord, bool]:
    """Settles a delivery, waiting for whoever settles another one, and for a database that is away.

    Returns:
        What became of it, and whether it had been settled before.

    Raises:
        BcdError: Nothing in it is admissible; then nothing is stored.
    """
    identity = draft.identity
    tried = False

    def attempt() -> tuple[DeliveryRecord, bool]:
        nonlocal tried
        with catalog.lock("admission") as confirm:
            clear_unsettled(settings, catalog)
            record = find_delivery(catalog, identity)
            if record is not None:
                return record, not tried  # entered by this process, if only its answer was lost
            tried = True
            draft.findings.start_over()
            try:
                return _settle(settings, catalog, draft, identity, confirm), False
            except (OSError, sa.exc.OperationalError):  # what was placed on a full disk should not keep it full
                clear_unsettled(settings, catalog)
                raise

    return patiently(attempt)


def clear_unsettled(settings: Settings, catalog: Catalog) -> None:
    """Removes what a killed process placed and did not enter; only under the lock "admission"."""
    for note in sorted(_notes(settings).glob("[0-9a-f]*.json")):  # not what was still being written
        placed = json.loads(note.read_text("utf-8"))
        if find_delivery(catalog, placed["delivery"]) is None:
            shutil.rmtree(settings.quarantine / placed["delivery"], ignore_errors=True)
            if placed["batch"] and not _holds_batch(catalog, placed["batch"]):
                shutil.rmtree(settings.batches / placed["batch"], ignore_errors=True)
        note.unlink()


def _settle(
    settings: Settings, catalog: Catalog, draft: Draft, identity: str, confirm: Callable[[], None]
) -> DeliveryRecord:
    findings = draft.findings
    refuse_withdrawn(withdrawn_patients(catalog, draft.hospital), findings)
    doubts = refuse_known(catalog, draft.hospital, findings)
    refuse_duplicates(findings)
    refusals = findings.refusals()
    standing = findings.standing()
    is_known = {"already-admitted", "withdrawn"} & {refusal.rule for refusal in refusals.values()}
    conflicts = [] if draft.is_release else [(known, found.rule, found.message) for known, found in doubts.conflicts]
    if standing.empty and not is_known and not conflicts:
        raise _nothing_admissible(draft.name, count_rules(refusals))
    stains = measure_stains(standing)
    index = make_index(draft.hospital, findings, standing, known_slides(catalog), stains)
    batch = batch_id(index) if len(index) else None
    note = _notes(settings) / f"{identity}.json"
    with whole_file(note) as partial:
        partial.write_text(json.dumps({"delivery": identity, "batch": batch}), "utf-8")
    if batch is not None:
        write_batch(settings, index, draft.spool, standing["spool_row"].to_numpy().astype(np.int64))
    kept = keep_refused(settings, identity, draft.source, findings, refusals, strip=draft.hides)
    record = DeliveryRecord(
        id=identity,
        hospital=draft.hospital,
        name=draft.name,
        batch=batch,
        files=findings.files,
        admitted_files=findings.files - len(refusals) - len(findings.ignored),
        admitted=len(index),
        refused=count_rules(refusals),
        ignored=len(findings.ignored),
        patients=int(standing["patient"].nunique()),
        positive=int((standing["label"] == 1).sum()),
        unlabelled=int((standing["label"] == UNLABELLED).sum()),
        flags=count_flags(index),
    )
    present = set(zip(standing["patient"], standing["slide"], strict=True))
    complete = [one for one in findings.complete if (one.patient, one.slide) in present]
    settlement = Settlement(record, index, kept, conflicts, doubts.labels, stains, complete)
    record_delivery(catalog, settlement, confirm)
    with suppress(OSError):  # it is admitted; who settles next removes the note
        note.unlink()
    return record


def _holds_batch(catalog: Catalog, batch: str) -> bool:
    with catalog.engine.connect() as connection:
        return (
            connection.execute(sa.select(tables.batches.c.id).where(tables.batches.c.id == batch)).first() is not None
        )


def _notes(settings: Settings) -> Path:
    return settings.batches.parent / "unsettled"


def _nothing_admissible(name: str, counts: Mapping[str, int]) -> BcdError:
    by_rule = ", ".join(f"{rule} {count:,}" for rule, count in counts.items())
    return BcdError(
        f"Nothing in {name} can be admitted; files by the rule they break: {by_rule}.",
        "Hand over 50x50 RGB PNGs named PATIENT_idx5_x51_y101_class0.png, or slides named PATIENT_idx5.svs.",
    )
