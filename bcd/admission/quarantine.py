"""The quarantine: refused files of a delivery, kept beside a list that says why each was refused."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from bcd.admission.examine import Finding
from bcd.admission.sources import Member, Source, UnreadableFileError
from bcd.files import whole_folder
from bcd.settings import Settings
from bcd.store.deliveries import RefusalRecord

MAX_KEPT_BYTES = 64 << 20
"""A refused file of more bytes is listed and not copied."""


def keep_refused(
    settings: Settings, delivery: str, source: Source, refused: Sequence[Finding]
) -> list[RefusalRecord]:
    """Copies refused files to `quarantine/DELIVERY/` and lists them in its `refusals.csv`.

    A folder that an interrupted admission of the same delivery left there is replaced: other deliveries may
    have been admitted since.

    Args:
        settings: Where the quarantine lies.
        delivery: The delivery's hash.
        source: The delivery, still open.
        refused: Its refused files.

    Returns:
        The refusals, as the catalog records them.
    """
    folder = settings.quarantine / delivery
    if folder.exists():
        shutil.rmtree(folder)
    if not refused:
        return []
    records = []
    with whole_folder(folder) as partial:
        for number, finding in enumerate(refused, start=1):
            assert finding.refusal is not None
            name = f"{number:06d}-{_safe(finding.member.path.name)}"
            kept = name if _copy(source, finding.member, partial / name) else None
            rule, message = finding.refusal
            records.append(RefusalRecord(finding.member.name, rule, message, finding.sha256, kept))
        with (partial / "refusals.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "rule", "message", "sha256", "kept"])
            writer.writerows([one.name, one.rule, one.message, one.sha256, one.kept or ""] for one in records)
    return records


def _copy(source: Source, member: Member, target: Path) -> bool:
    if not member.is_file or member.size > MAX_KEPT_BYTES:
        return False
    try:
        target.write_bytes(source.read(member, MAX_KEPT_BYTES))
    except UnreadableFileError:
        return False
    return True


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:]
