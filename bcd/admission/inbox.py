"""The inbox: a delivery in it is taken by one process at a time, and set aside where it cannot be admitted at all.

Left where it was, such a one would be tried again every minute; deleted, it would be lost.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bcd.errors import BcdError, UnavailableError
from bcd.files import lock, whole_file
from bcd.patches import Hospital
from bcd.settings import Settings

_CLAIMS = 64
"""So many deliveries can be taken at once; as many lock files are left."""


def locate(settings: Settings, named: str, hospital: str = "") -> tuple[Hospital, Path]:
    """Finds a delivery that lies in the inbox.

    Args:
        settings: Where the inbox is.
        named: HOSPITAL/NAME, or its whole path.
        hospital: The hospital that it must be of; empty: the folder says it.

    Returns:
        The hospital and the path.

    Raises:
        BcdError: It does not lie in the inbox, or in another hospital's folder.
    """
    path = Path(os.path.normpath(settings.inbox / named))
    if path.parent.parent != settings.inbox or not path.exists():
        raise BcdError(
            f"{named} is no delivery in the inbox {settings.inbox}.",
            "Put it there and name it HOSPITAL/NAME; from elsewhere: bcd ingest DELIVERY --hospital NAME.",
        )
    if hospital not in {"", path.parent.name}:
        raise BcdError(
            f"{named} lies in the folder of {path.parent.name}, not of {hospital}.",
            "Leave the hospital empty, or move the delivery.",
        )
    return Hospital(path.parent.name), path


@contextmanager
def claim(settings: Settings, path: Path) -> Iterator[None]:
    """Keeps other processes from a delivery of the inbox, which leaves it at the end, for the duration of the block.

    A delivery that lies elsewhere stays where it is, and may be read by several at once.

    Raises:
        UnavailableError: Another process took it out of the inbox.
    """
    if settings.inbox not in path.absolute().parents:
        yield
        return
    found = _look(path)
    bucket = zlib.crc32(os.fsencode(path.absolute())) % _CLAIMS
    with lock(settings.home / ".locks" / f".delivery-{bucket}.lock"):
        if found is None or (now := _look(path)) is None or not os.path.samestat(now, found):
            raise UnavailableError(
                f"{path} is no longer in the inbox: another run has taken it.",
                "Nothing is to be done: `bcd batches` shows what became of it.",
            )
        yield


def is_waiting(settings: Settings, path: Path, hospital: Hospital) -> bool:
    """Whether a delivery lies in its hospital's folder of the inbox, which it leaves at the end."""
    return path.absolute().parent == settings.inbox / hospital


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def set_aside(settings: Settings, path: Path, hospital: Hospital, *, reason: str) -> Path:
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
