"""The quarantine: refused files of a delivery, kept beside a list that says why each was refused.

Not kept, only listed: patches that an earlier batch holds, copies of files that are admitted, what is no plain file
or too large, slides (their label images and metadata may name a patient), files of patients who withdrew, and, of a
hospital whose identifiers are not pseudonyms, all but pictures, which lose whatever text they carry.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bcd.admission.findings import Findings
from bcd.admission.png import strip_text
from bcd.admission.rules import Refusal
from bcd.admission.slides.names import is_slide
from bcd.admission.sources.source import Source, UnreadableFileError
from bcd.files import whole_folder
from bcd.settings import Settings
from bcd.store.deliveries import RefusedFile
from bcd.store.objects import put, remove
from bcd.store.spool import DIGEST_BYTES, begin_digests

_CHUNK = 16_384  # files whose hashes are compared at a time

MAX_KEPT_BYTES = 64 << 20
"""A refused file of more bytes is listed and not copied."""


def keep_refused(
    settings: Settings,
    delivery: str,
    source: Source,
    findings: Findings,
    refusals: Mapping[int, Refusal],
    *,
    strip: bool,
) -> list[RefusedFile]:
    """Copies refused files to `quarantine/DELIVERY/` and lists them in its `refusals.csv`.

    A folder that an interrupted admission of the same delivery left there is replaced: other deliveries may
    have been admitted since.

    Args:
        settings: Where the quarantine lies.
        delivery: The delivery's hash.
        source: The delivery, still open.
        findings: What was found in it.
        refusals: Its refused files, by member.
        strip: Whether what may name somebody is left out.

    Returns:
        The refusals, as the catalog records them.
    """
    folder = settings.quarantine / delivery
    remove(settings, folder)
    if not refusals:
        return []
    records = []
    admitted = _admitted_digests(findings, refusals)
    with whole_folder(folder) as partial:
        for number, (member, (rule, message)) in enumerate(refusals.items(), start=1):
            shown = findings.names[member]
            name = f"{number:06d}-{_make_safe_name(PurePosixPath(shown).name)}"
            digest = findings.digests[member].tobytes().hex()
            is_private = member in findings.private or is_slide(PurePosixPath(shown))
            is_kept = rule != "already-admitted" and not is_private and digest not in admitted
            kept = is_kept and _copy_into_quarantine(source, member, partial / name, strip=strip)
            records.append(RefusedFile(shown, rule, message, digest, name if kept else None))
        _write_list(partial, records)
    put(settings, folder)
    return records


def list_whole(settings: Settings, delivery: str, refusal: RefusedFile) -> None:
    """Lists a delivery that was refused without a look at its files, itself in their place; nothing is copied."""
    folder = settings.quarantine / delivery
    remove(settings, folder)
    with whole_folder(folder) as partial:
        _write_list(partial, [refusal])
    put(settings, folder)


def _write_list(folder: Path, records: Sequence[RefusedFile]) -> None:
    with (folder / "refusals.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "rule", "message", "sha256", "kept"])
        writer.writerows([one.name, one.rule, one.message, one.sha256, one.kept or ""] for one in records)


def _admitted_digests(findings: Findings, refusals: Mapping[int, Refusal]) -> set[str]:
    """Returns those hashes of refused files that admitted ones have too.

    Admitted files are no larger than a patch may be, so all of each was hashed.
    """
    sought = {findings.digests[member].tobytes() for member in refusals}
    beginnings = begin_digests(np.frombuffer(b"".join(sought), np.uint8).reshape(-1, DIGEST_BYTES))
    members = findings.standing()["member"].to_numpy()
    found = set()
    for start in range(0, len(members), _CHUNK):  # never the hashes of all files at once
        part = members[start : start + _CHUNK]
        digests = findings.digests[part]
        alike = np.isin(begin_digests(digests), beginnings)
        pairs = zip(part[alike].tolist(), digests[alike], strict=True)
        found |= {digest.tobytes().hex() for member, digest in pairs if member not in refusals}
    return found


def _copy_into_quarantine(source: Source, member: int, target: Path, *, strip: bool) -> bool:
    hazard = source.hazard(member)
    if source.size(member) > MAX_KEPT_BYTES or (hazard is not None and hazard[0] in {"not-a-file", "bomb"}):
        return False
    try:
        data = source.read(member, MAX_KEPT_BYTES)
    except UnreadableFileError:
        return False
    kept = strip_text(data) if strip else data
    if kept is None:
        return False
    target.write_bytes(kept)
    return True


def _make_safe_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:]
