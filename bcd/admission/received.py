"""What becomes of a delivery of the inbox after its admission: moved, deleted, or kept where it is.

A delivery that was named on the command line stays where it is. One that holds refused files of which the
quarantine has no copy is moved rather than deleted: nothing is lost. One that cannot be admitted at all is set aside:
left where it was, it would be tried again and again.
"""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from bcd.admission.naming import open_naming
from bcd.errors import BcdError, NotFoundError, UnavailableError
from bcd.files import lock_file, partial_folder, whole_file
from bcd.patches import Hospital
from bcd.progress import say_progress
from bcd.settings import Settings
from bcd.store.batches import read_index_parts
from bcd.store.catalog import retry_while_database_away
from bcd.store.deliveries import Delivery
from bcd.store.delivery_queries import list_stored_refusals
from bcd.store.hospitals import list_hospitals
from bcd.store.store import Store

_CLAIMS = 64
"""So many deliveries can be taken at once; as many lock files are left."""


def name_in_inbox(store: Store, hospital: Hospital, path: Path) -> str:
    """Returns HOSPITAL/NAME of a delivery in the inbox, as it may be seen; `locate_in_inbox` finds it by this.

    Raises:
        UnavailableError: The hospital's key of pseudonyms is missing or another one.
    """
    return f"{hospital}/{open_naming(store, hospital).show_title(path.name)}"


def locate_in_inbox(store: Store, named: str, hospital: str = "") -> tuple[Hospital, Path]:
    """Finds a delivery that lies in the inbox.

    Args:
        store: Where the inbox is, and how its hospitals' deliveries may be called.
        named: HOSPITAL/NAME, or its whole path; NAME as `name_in_inbox` says, too.
        hospital: The hospital that it must be of; empty: the folder says it.

    Returns:
        The hospital and the path.

    Raises:
        BcdError: It does not lie in the inbox, or in another hospital's folder.
    """
    inbox = store.settings.inbox
    path = Path(os.path.normpath(inbox / named))
    if path.parent.parent == inbox and not path.exists():
        path = _find_by_shown_name(store, path)
    if path.parent.parent != inbox or not path.exists():
        raise NotFoundError(
            f"{named} is no delivery in the inbox {inbox}.",
            "Put it there and name it HOSPITAL/NAME; from elsewhere: `bcd ingest DELIVERY --hospital NAME`.",
        )
    if hospital not in {"", path.parent.name}:
        raise BcdError(
            f"{named} lies in the folder of {path.parent.name}, not of {hospital}.",
            "Leave the hospital empty, or move the delivery.",
        )
    return Hospital(path.parent.name), path


def _find_by_shown_name(store: Store, path: Path) -> Path:
    """Returns the delivery that is called so where names are hidden; else the path as it is."""
    for known in list_hospitals(store):
        if known.identifiers == "raw" and known.hospital == path.parent.name and path.parent.is_dir():
            naming = open_naming(store, known.hospital)
            return next((each for each in path.parent.iterdir() if naming.show_title(each.name) == path.name), path)
    return path


@contextmanager
def claim_delivery(settings: Settings, path: Path) -> Iterator[None]:
    """Keeps other processes from a delivery of the inbox, which leaves it at the end, for the duration of the block.

    A delivery that lies elsewhere stays where it is, and may be read by several at once.

    Raises:
        UnavailableError: Another process took it out of the inbox.
    """
    if settings.inbox not in path.absolute().parents:
        yield
        return
    found = _stat_delivery(path)
    bucket = zlib.crc32(os.fsencode(path.absolute())) % _CLAIMS
    with lock_file(settings.home / ".locks" / f".delivery-{bucket}.lock"):
        if found is None or (now := _stat_delivery(path)) is None or not os.path.samestat(now, found):
            raise UnavailableError(
                f"{path} is no longer in the inbox: another run has taken it.",
                "Nothing is to be done: `bcd batch list` shows what became of it.",
            )
        yield


def is_waiting(settings: Settings, path: Path, hospital: Hospital) -> bool:
    """Whether a delivery lies in its hospital's folder of the inbox, which it leaves at the end."""
    return path.absolute().parent == settings.inbox / hospital


def _stat_delivery(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def set_delivery_aside(settings: Settings, path: Path, hospital: Hospital, *, reason: str) -> Path:
    """Moves a delivery out of the inbox to `set-aside/HOSPITAL/`, and writes the reason into NAME.txt beside it.

    Args:
        settings: Where the folders are.
        path: The delivery.
        hospital: Where it came from.
        reason: What is wrong with it and what to do.

    Returns:
        Where it lies now.
    """
    folder = settings.set_aside / hospital
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if target.exists():  # the same name was set aside before; neither is lost
        target = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{path.name}"
    with whole_file(target.with_name(f"{target.name}.txt")) as partial:
        partial.write_text(f"{reason}\n", encoding="utf-8")
    shutil.move(path, target)
    return target


def leave_inbox(store: Store, path: Path, record: Delivery, *, hides: bool) -> None:
    """Does with an admitted delivery what `after_admission` says.

    Args:
        store: Knows which refused files were kept.
        path: The delivery.
        record: What became of it.
        hides: Whether its name may not be told.
    """
    if not is_waiting(store.settings, path, record.hospital):
        return
    if store.settings.after_admission == "keep":
        _mark_settled(path, record.id)
    elif store.settings.after_admission == "delete" and retry_while_database_away(lambda: _is_kept(store, record)):
        _remove_from_inbox(path)
    else:
        if store.settings.after_admission == "delete":
            title = record.name if hides else path.name
            say_progress(
                f"{title} is moved to received, not deleted: the quarantine has no copy of some refused files."
            )
        _move_to_received(store.settings, path, record)


def _is_kept(store: Store, record: Delivery) -> bool:
    """Whether the store has all that was delivered: in a batch, or in the quarantine."""
    left = [one for one in list_stored_refusals(store, record.id) if not one.kept and one.rule != "already-admitted"]
    if not left or record.batch is None:
        return not left
    sought = {one.sha256 for one in left}
    for part in read_index_parts(store.settings, record.batch, ["sha256"]):
        sought.difference_update(part["sha256"].to_pylist())
    return not sought  # copies of files that are admitted


def _mark_settled(path: Path, identity: str) -> None:
    """Marks a delivery that stays in the inbox as admitted, as it is now."""
    with whole_file(_settled_mark_path(path)) as partial:
        partial.write_text(f"{identity}\n", "utf-8")


def is_settled_in_inbox(path: Path, changed: float) -> bool:
    """Whether a delivery of the inbox was admitted and stays there unchanged.

    Args:
        path: The delivery.
        changed: When something in it last changed, in seconds of the epoch.
    """
    try:
        return _settled_mark_path(path).stat().st_mtime >= changed
    except FileNotFoundError:
        return False


def _settled_mark_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.admitted")


def _move_to_received(settings: Settings, path: Path, record: Delivery) -> None:
    """Moves a delivery to `received/HOSPITAL/`; its hash joins the name where that is taken."""
    folder = settings.received / record.hospital
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if target.exists():
        target = folder / f"{path.stem}-{record.id[:12]}{path.suffix}"
    if target.is_dir():  # the very same delivery was received twice before
        _remove_from_inbox(path)
        return
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_to_received(path, target)  # the inbox is on another disk
        _remove_from_inbox(path)


def find_received(settings: Settings, hospital: str, name: str, identity: str) -> Path | None:
    """Returns where a delivery of this name and id lies in `received/` or `set-aside/`; None where it does not.

    One that was deleted, named on the command line or handed over under a hidden name is not found.
    """
    path = PurePosixPath(name)
    folder = settings.received / hospital
    aside = settings.set_aside / hospital / path.name
    places = [folder / f"{path.stem}-{identity[:12]}{path.suffix}", folder / path.name, aside]
    return next((place for place in places if place.exists()), None)


def _copy_to_received(path: Path, target: Path) -> None:
    with partial_folder(target.parent) as partial:
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, partial / path.name)
        (partial / path.name).replace(target)


def _remove_from_inbox(path: Path) -> None:
    """Removes a delivery at once: half of it, left in the inbox, would be taken for another delivery."""
    with partial_folder(path.parent) as partial:
        path.replace(partial / path.name)
