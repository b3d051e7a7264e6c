"""Deliveries before admission: where they wait, and a quick look that tells whether one is worth opening.

A delivery in the inbox is taken when it is whole. It is left alone as long as

- its name is hidden or that of a transfer under way (`.x`, `x.part`, `x.filepart`, `x.crdownload`, `x.tmp`, …);
- anything in it changed within `inbox_quiet_seconds`;
- something in it is named as a transfer under way, or it is an archive without its end; for ten times as long, since
  by then nobody is writing it: it is taken as it is, and admission says what is wrong with it.

The sure way to hand one over is to write it under a hidden name, or one that ends in `.part`, and to rename it at the
end: however long the writing rests, nothing is taken before.

Examples:
    >>> for hospital, path in find_deliveries(load_settings()):  # doctest: +SKIP
    ...     check_delivery(path)
"""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from bcd.admission.declared import SLIDES_FILES
from bcd.admission.plan import LABELS_FILES
from bcd.admission.received import is_settled_in_inbox
from bcd.admission.slides.names import is_slide
from bcd.admission.sources.folders import walk
from bcd.admission.sources.open import is_whole_archive, list_delivered_names
from bcd.admission.sources.source import is_litter
from bcd.errors import BcdError
from bcd.formats import format_some
from bcd.patches import Hospital, PatchName, is_patch_of_another_format
from bcd.progress import say_progress
from bcd.settings import Settings
from bcd.store.hospitals import check_hospital

PATIENCE = 10
"""A delivery that does not look whole is taken after so many times `inbox_quiet_seconds`."""

# Browsers, FTP and SFTP programs, cloud drives; LibreOffice's locks; rsync's `.NAME.x7Gh2k`.
_UNDER_WAY = re.compile(
    r".*\.(part|partial|filepart|crdownload|download|tmp|temp|aria2|s3tmp)|\.~lock\..*|\..+\.[a-z0-9]{6}",
    re.IGNORECASE | re.DOTALL,
)


def check_delivery(path: Path) -> None:
    """Looks at a delivery's names, quickly, before any long work begins.

    Raises:
        BcdError: It is missing, cannot be opened, is empty, or no file in it is named as a patch, slide or table.
    """
    check_names(path, list_delivered_names(path))


def check_names(path: Path, names: Iterable[str]) -> None:
    """Looks at the names of a delivery that is open already, until one is worth opening.

    Raises:
        BcdError: There is none.
    """
    count, kinds = 0, set()
    for name in _without_litter(names):
        is_patch = PatchName.parse(name.name) is not None or is_patch_of_another_format(name.name)
        if is_patch or is_slide(name) or name.name.lower() in SLIDES_FILES | LABELS_FILES:
            return
        count += 1
        kinds.add(name.suffix.lower() or "without suffix")
    if not count:
        raise BcdError(
            f"{path} holds no files.",
            "Hand over patches named PATIENT_idx5_x51_y101_class0.png, or slides, in a folder, zip or tar.",
        )
    # Not the names themselves: those of a raw hospital may name somebody.
    shown = format_some(sorted(kinds), 5)
    raise BcdError(
        f"{path} holds {count:,} files and none is named as a patch or a slide (they are {shown}).",
        "Patches are named PATIENT_idx5_x51_y101_class0.png, without _class0 where unlabelled; slides PATIENT.svs.",
    )


def list_delivered_patients(path: Path) -> set[str]:
    """Returns the patients that the names of a delivery's patches name; reads no file.

    Raises:
        BcdError: The delivery is missing, or nothing that can be opened.
    """
    parsed = (PatchName.parse(name.name) for name in _without_litter(list_delivered_names(path)))
    return {name.patient for name in parsed if name is not None}


def find_deliveries(settings: Settings) -> list[tuple[Hospital, Path]]:
    """Finds what waits in `inbox/HOSPITAL/` and is whole, as this module says how to know.

    Folders whose name cannot be a hospital's are left out, with a word; so is a delivery that is not whole yet.
    """
    found = []
    for folder in sorted(path for path in settings.inbox.glob("*") if path.is_dir() and not is_hidden(path)):
        try:
            hospital = check_hospital(folder.name)
            waiting = sorted(path for path in folder.iterdir() if not is_hidden(path))
        except (BcdError, OSError) as error:  # one hospital's folder stops no other
            say_progress(f"Nothing in {folder} is admitted: {error}")
            continue
        found += [(hospital, path) for path in waiting if _is_ready(path, settings.inbox_quiet_seconds)]
    return found


def _is_ready(path: Path, quiet_seconds: float) -> bool:
    try:
        changed, under_way = _look_around(path)
        if is_settled_in_inbox(path, changed):
            return False
    except FileNotFoundError:  # it is changing right now
        return False
    except (BcdError, OSError):  # nobody may look at it, which admission will say
        return True
    quiet = time.time() - changed
    if quiet < quiet_seconds or quiet >= PATIENCE * quiet_seconds:
        return quiet >= quiet_seconds
    if not under_way and _has_its_end(path):
        return True
    # Without its name, which of a raw hospital may name somebody.
    say_progress(f"A delivery of {path.parent.name} waits: {under_way or 'the end of the archive is missing'}.")
    return False


def _look_around(path: Path) -> tuple[float, str]:
    """Returns when anything in a delivery last changed, and what is still being written in it."""
    state = path.stat()
    changed, under_way = state.st_ctime, ""
    for name, inner in walk(path) if stat.S_ISDIR(state.st_mode) else ():
        # ctime: copying tools set the other times back. What cannot be looked at may be gone by now.
        changed = max(changed, inner.st_ctime if inner is not None else 0.0)
        if inner is None or _UNDER_WAY.fullmatch(name.rpartition("/")[2]):
            under_way = "a file in it is being written"
    return changed, under_way


def _has_its_end(path: Path) -> bool:
    try:
        return is_whole_archive(path)
    except (BcdError, OSError):  # nothing that can be opened, so far
        return False


def _without_litter(names: Iterable[str]) -> Iterator[PurePosixPath]:
    return (PurePosixPath(name) for name in names if not is_litter(name))


def is_hidden(path: Path) -> bool:
    """Whether what lies in the inbox is no delivery: hidden, litter, or a transfer under way."""
    return path.name.startswith(".") or is_litter(path.name) or _UNDER_WAY.fullmatch(path.name) is not None
