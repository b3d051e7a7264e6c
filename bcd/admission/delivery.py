"""Deliveries before admission: where they wait, and a quick look that tells whether one is worth opening.

Example:
    >>> for hospital, path in find_deliveries(load_settings()):  # doctest: +SKIP
    ...     check_delivery(path)
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from bcd.admission.sources import LITTER, open_source
from bcd.errors import BcdError
from bcd.patches import Hospital, PatchName
from bcd.progress import say
from bcd.settings import Settings

_HOSPITAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


def check_hospital(name: str) -> Hospital:
    """Returns a hospital's name if it is one: letters, digits, `-` and `_`, at most 64.

    Raises:
        BcdError: It is not.
    """
    if not _HOSPITAL.fullmatch(name):
        raise BcdError(
            f"{name!r} is not a name for a hospital.",
            "Use up to 64 letters, digits, - and _, beginning with a letter or digit.",
        )
    return Hospital(name)


def check_delivery(path: Path) -> None:
    """Looks at a delivery's names, quickly, before any long work begins.

    Raises:
        BcdError: It is missing, neither folder nor zip, empty, or no file in it is named as a patch.
    """
    names = _file_names(path)
    if not names:
        raise BcdError(
            f"{path} holds no files.",
            "Hand over patches named PATIENT_idx5_x51_y101_class0.png in a folder or zip.",
        )
    if not any(PatchName.parse(name) for name in names):
        raise BcdError(
            f"{path} holds {len(names):,} files and none is named as a patch (the first is {names[0]}).",
            "Patches are named PATIENT_idx5_x51_y101_class0.png, or without _class0 where unlabelled.",
        )


def patient_ids(path: Path) -> set[str]:
    """Returns the patients that a delivery's file names name; reads no file.

    Raises:
        BcdError: The delivery is missing, or neither folder nor zip.
    """
    parsed = (PatchName.parse(name) for name in _file_names(path))
    return {name.patient for name in parsed if name is not None}


def find_deliveries(settings: Settings) -> list[tuple[Hospital, Path]]:
    """Finds what waits in `inbox/HOSPITAL/` and has been left alone for `inbox_quiet_seconds`.

    A delivery is quiet by the time of the last change of any file or folder in it (ctime: copying tools set the other
    times back). Hidden names are left out; so are folders whose name cannot be a hospital's, with a word.
    """
    found = []
    for folder in sorted(path for path in settings.inbox.glob("*") if path.is_dir() and not _is_hidden(path)):
        if not _HOSPITAL.fullmatch(folder.name):
            say(f"{folder} is not named as a hospital (letters, digits, - and _); nothing in it is admitted.")
            continue
        waiting = sorted(path for path in folder.iterdir() if not _is_hidden(path))
        hospital = Hospital(folder.name)
        found += [(hospital, path) for path in waiting if _quiet_for(path) >= settings.inbox_quiet_seconds]
    return found


def _file_names(path: Path) -> list[str]:
    with open_source(path) as source:
        return [member.path.name for member in source.members if not member.is_litter]


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in LITTER


def _quiet_for(path: Path) -> float:
    changes = []
    for place in [path, *path.rglob("*")]:
        try:
            changes.append(place.lstat().st_ctime)
        except FileNotFoundError:  # it is changing right now
            return -1.0
    return time.time() - max(changes)
