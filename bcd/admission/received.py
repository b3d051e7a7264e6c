"""What becomes of a delivery of the inbox after its admission: moved, deleted, or kept where it is.

A delivery that was named on the command line stays where it is. One that holds refused files of which the
quarantine has no copy is moved rather than deleted: nothing is lost.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from bcd.admission.inbox import is_waiting
from bcd.files import partial_folder, whole_file
from bcd.progress import say
from bcd.settings import Settings
from bcd.store.catalog import Catalog, patiently
from bcd.store.deliveries import DeliveryRecord, list_refusals


def leave_inbox(settings: Settings, catalog: Catalog, path: Path, record: DeliveryRecord, *, hides: bool) -> None:
    """Does with an admitted delivery what `after_admission` says.

    Args:
        settings: Where the inbox is, and the setting.
        catalog: Knows which refused files were kept.
        path: The delivery.
        record: What became of it.
        hides: Whether its name may not be told.
    """
    if not is_waiting(settings, path, record.hospital):
        return
    if settings.after_admission == "keep":
        mark_settled(path, record.id)
    elif settings.after_admission == "delete" and patiently(lambda: _is_kept(settings, catalog, record)):
        _remove(path)
    else:
        if settings.after_admission == "delete":
            title = record.name if hides else path.name
            say(f"{title} is moved to received, not deleted: the quarantine has no copy of some refused files.")
        _move(settings, path, record)


def _is_kept(settings: Settings, catalog: Catalog, record: DeliveryRecord) -> bool:
    """Whether the store has all that was delivered: in a batch, or in the quarantine."""
    left = [one for one in list_refusals(catalog, record.id) if not one.kept and one.rule != "already-admitted"]
    if not left or record.batch is None:
        return not left
    import pandas as pd

    index = pd.read_parquet(settings.batches / record.batch / "index.parquet", columns=["sha256"])
    return {one.sha256 for one in left} <= set(index["sha256"])  # copies of files that are admitted


def mark_settled(path: Path, identity: str) -> None:
    """Marks a delivery that stays in the inbox as admitted, as it is now."""
    with whole_file(_mark(path)) as partial:
        partial.write_text(f"{identity}\n", "utf-8")


def is_settled(path: Path, changed: float) -> bool:
    """Whether a delivery of the inbox was admitted and stays there unchanged.

    Args:
        path: The delivery.
        changed: When something in it last changed, in seconds of the epoch.
    """
    try:
        return _mark(path).stat().st_mtime >= changed
    except FileNotFoundError:
        return False


def _mark(path: Path) -> Path:
    return path.with_name(f".{path.name}.admitted")


def _move(settings: Settings, path: Path, record: DeliveryRecord) -> None:
    """Moves a delivery to `received/HOSPITAL/`; its hash joins the name where that is taken."""
    folder = settings.received / record.hospital
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if target.exists():
        target = folder / f"{path.stem}-{record.id[:12]}{path.suffix}"
    if target.is_dir():  # the very same delivery was received twice before
        _remove(path)
        return
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(path, target)  # the inbox is on another disk
        _remove(path)


def _copy(path: Path, target: Path) -> None:
    with partial_folder(target.parent) as partial:
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, partial / path.name)
        (partial / path.name).replace(target)


def _remove(path: Path) -> None:
    """Removes a delivery at once: half of it, left in the inbox, would be taken for another delivery."""
    with partial_folder(path.parent) as partial:
        path.replace(partial / path.name)
