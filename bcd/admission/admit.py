"""Admission: from a delivery to a batch and refusals, exactly once.

Every file of a delivery is looked at, and what is good becomes one batch. The batch's folder and the quarantine
are in place before one transaction makes them count; the delivery leaves the inbox after it. So a run that is
killed anywhere is completed by running it again, and the same delivery twice changes nothing.

Example:
    >>> admission = admit(settings, catalog, Path("delivery-1.zip"), Hospital("east"))  # doctest: +SKIP
    >>> admission.admitted, admission.refused  # doctest: +SKIP
    (3390, {'size': 19})
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from bcd.admission.delivery import check_delivery, check_hospital
from bcd.admission.duplicates import refuse_duplicates, refuse_known
from bcd.admission.examine import Finding, examine_files
from bcd.admission.quarantine import keep_refused
from bcd.admission.sources import Source, open_source
from bcd.errors import BcdError
from bcd.patches import BatchId, Hospital
from bcd.progress import say
from bcd.settings import Settings
from bcd.store.batches import PATCH_SHAPE, write_batch
from bcd.store.catalog import Catalog, file_lock
from bcd.store.deliveries import DeliveryRecord, find_delivery, record_delivery

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Admission:
    """What became of a delivery; admitted + refused + ignored is its number of files.

    Attributes:
        delivery: Name of the folder or archive.
        hospital: Where it came from.
        batch: What its admitted patches became; None where all of them had been admitted before.
        admitted: Number of patches admitted.
        refused: Number of files refused, by the rule's code.
        ignored: Number of files that are an operating system's litter.
        patients: Number of patients that admitted patches are of.
        positive: Number of admitted patches labelled 1.
        unlabelled: Number of admitted patches without a label.
        already: Whether the same delivery was admitted before, so that nothing changed now.
    """

    delivery: str
    hospital: Hospital
    batch: BatchId | None
    admitted: int
    refused: dict[str, int]
    ignored: int
    patients: int
    positive: int
    unlabelled: int
    already: bool


def admit(settings: Settings, catalog: Catalog, path: Path, hospital: Hospital) -> Admission:
    """Admits a delivery; one of the inbox then moves to `received/HOSPITAL/`.

    Args:
        settings: Where the store lies.
        catalog: The open catalog.
        path: A folder or a zip.
        hospital: Where it comes from.

    Raises:
        BcdError: It cannot be opened, or nothing in it is admissible; then nothing is stored.
    """
    check_hospital(hospital)
    check_delivery(path)
    with open_source(path) as source, _open_spool(settings) as spool:
        members = [member for member in source.members if not member.is_litter]
        findings = examine_files(source, members, spool)
        identity = _identify(hospital, findings)
        with file_lock(settings.home / "store" / ".admission.lock"):
            record = find_delivery(catalog, identity)
            already = record is not None
            if record is None:
                ignored = len(source.members) - len(members)
                draft = _Draft(identity, path.name, hospital, ignored, findings)
                record = _settle(settings, catalog, source, spool, draft)
    if already:
        say(f"{path.name} of {hospital} was admitted before: nothing changes.")
    if path.absolute().parent == settings.inbox / hospital:
        move_received(settings, path, hospital, identity)
    return _admission(record, already=already)


@dataclass(frozen=True)
class _Draft:
    """A delivery that was looked at and is not settled yet."""

    identity: str
    name: str
    hospital: Hospital
    ignored: int
    findings: list[Finding]


def _settle(settings: Settings, catalog: Catalog, source: Source, spool: BinaryIO, draft: _Draft) -> DeliveryRecord:
    """Decides about every file, writes batch and quarantine, and records it all; nobody else does meanwhile."""
    refuse_known(catalog, draft.hospital, draft.findings)
    refuse_duplicates(draft.findings)
    good = [finding for finding in draft.findings if finding.refusal is None]
    refused = [finding for finding in draft.findings if finding.refusal is not None]
    counts = _count_rules(refused)
    if not good and "already-admitted" not in counts:
        raise _nothing_admissible(draft.name, counts)
    good.sort(key=_canonical_place)
    index = _make_index(draft.hospital, good)
    batch = None
    if good:
        rows = np.array([finding.spool_row for finding in good], dtype=np.int64)
        batch = write_batch(settings, index, _map_spool(spool), rows)
    refusals = keep_refused(settings, draft.identity, source, refused)
    record = DeliveryRecord(
        id=draft.identity,
        hospital=draft.hospital,
        name=draft.name,
        batch=batch,
        admitted=len(good),
        refused=counts,
        ignored=draft.ignored,
        patients=len({finding.patch.patient for finding in good}),
        positive=sum(finding.label == 1 for finding in good),
        unlabelled=sum(finding.label is None for finding in good),
    )
    record_delivery(catalog, record, index, refusals)
    return record


def move_received(settings: Settings, path: Path, hospital: Hospital, identity: str) -> None:
    """Moves an admitted delivery out of the inbox; its hash joins the name where `received/` has that."""
    folder = settings.received / hospital
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if target.exists():
        target = folder / f"{path.stem}-{identity[:12]}{path.suffix}"
    if target.is_dir():  # the very same delivery was received twice before
        shutil.rmtree(path)
    else:
        path.replace(target)


@contextmanager
def _open_spool(settings: Settings) -> Iterator[BinaryIO]:
    # A file without a name: it is gone when the process is, however that ends.
    settings.batches.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.batches) as file:
        yield file


def _map_spool(spool: BinaryIO) -> np.ndarray:
    return np.memmap(spool, dtype=np.uint8, mode="r").reshape(-1, *PATCH_SHAPE)


def _identify(hospital: Hospital, findings: Sequence[Finding]) -> str:
    """Returns the delivery's hash: of the hospital, and of the name and bytes of every file."""
    lines = sorted(f"{finding.member.name}\t{finding.sha256}" for finding in findings)
    return hashlib.sha256("\n".join([hospital, *lines]).encode()).hexdigest()


def _canonical_place(finding: Finding) -> tuple[str, str, int, int]:
    patch = finding.patch
    return patch.patient, patch.slide, patch.y, patch.x


def _make_index(hospital: Hospital, good: Sequence[Finding]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "hospital": pd.Series([hospital] * len(good), dtype="str"),
            "patient": pd.Series([finding.patch.patient for finding in good], dtype="str"),
            "slide": pd.Series([finding.patch.slide for finding in good], dtype="str"),
            "x": np.array([finding.patch.x for finding in good], dtype=np.int64),
            "y": np.array([finding.patch.y for finding in good], dtype=np.int64),
            "label": pd.array([finding.label for finding in good], dtype="Int8"),
            "sha256": pd.Series([finding.sha256 for finding in good], dtype="str"),
            "pixel_sha256": pd.Series([finding.pixel_sha256 for finding in good], dtype="str"),
        }
    )


def _count_rules(refused: Sequence[Finding]) -> dict[str, int]:
    counts = Counter(finding.refusal.rule for finding in refused if finding.refusal is not None)
    return dict(sorted(counts.items()))


def _nothing_admissible(name: str, counts: dict[str, int]) -> BcdError:
    by_rule = ", ".join(f"{rule} {count:,}" for rule, count in counts.items())
    return BcdError(
        f"Nothing in {name} can be admitted; files by the rule they break: {by_rule}.",
        "Hand over 50x50 RGB PNGs named PATIENT_idx5_x51_y101_class0.png.",
    )


def _admission(record: DeliveryRecord, *, already: bool) -> Admission:
    return Admission(
        delivery=record.name,
        hospital=record.hospital,
        batch=record.batch,
        admitted=record.admitted,
        refused=record.refused,
        ignored=record.ignored,
        patients=record.patients,
        positive=record.positive,
        unlabelled=record.unlabelled,
        already=already,
    )
