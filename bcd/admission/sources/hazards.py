"""Names of members and what the listing of an archive says against them, before anything is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bcd.admission.sources.containers import is_part
from bcd.admission.sources.member_names import MemberNames

if TYPE_CHECKING:
    import numpy as np

Hazard = tuple[str, str]

ARCHIVE_SUFFIXES = (
    *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".tbz2"),
    *(".xz", ".txz", ".zst", ".7z", ".rar", ".cab", ".lzma"),
)
"""File names that archives have."""

MAX_NAME = 1024
"""Characters of a member's path; longer ones are cut."""

MAX_RATIO = 200
"""Declared bytes per compressed byte that no picture reaches."""

HARMLESS_BYTES = 10 << 20
"""A member that declares no more is read whatever its ratio."""

BOMB: Hazard = ("bomb", f"It declares more than {MAX_RATIO} times the bytes that it has in the archive.")

_ODD = re.compile(r"\\|//|(?:^|/)\./|/\.?$")
_CLIMBS = re.compile(r"(?:^|/)\.\.(?:/|$)")


def clean_name(name: str) -> str:
    r"""Returns a member's path with `/` between its parts, without `.` parts, and printable.

    Whatever cannot be printed or stored (line ends, NUL, bytes that are no text) is written as `\x0a`.
    """
    if _ODD.search(name):
        name = name.replace("\\", "/")
        root = "/" if name.startswith("/") else ""
        name = root + "/".join(part for part in name.split("/") if part not in {"", "."})
    if not name.isprintable():
        name = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name)
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"


def clean_names(names: Sequence[str]) -> Sequence[str]:
    """Returns the paths of members as `clean_name` does; as they are where all of them are clean, as a rule."""
    lines = "\n".join(["", *names, ""])
    is_plain = not any(odd in lines for odd in ("\\", "//", "/.", "\n.", "/\n"))
    if is_plain and "".join(names).isprintable() and max(map(len, names), default=0) <= MAX_NAME:
        return names
    return [clean_name(name) for name in names]


def find_name_hazards(names: MemberNames) -> dict[int, Hazard]:
    """Returns what `name_hazard` says of cleaned paths, by their place."""
    found = {}
    for first, block in names.blocks():
        lines = "\n".join(["", *block, ""])
        is_plain = not any(odd in lines for odd in ("\\", "..", ":", "\n/")) and len(max(block, key=len)) <= MAX_NAME
        if is_plain and lines.count(".png\n") == len(block):  # with that ending, what precedes it is no part's
            continue
        for place, name in enumerate(block, start=first):
            hazard = name_hazard(name)
            if hazard is not None:
                found[place] = hazard
    return found


def name_hazard(name: str) -> Hazard | None:
    """Returns what a cleaned path shows: that it is not safe, or that it is an archive in the delivery."""
    climbs = ".." in name and _CLIMBS.search(name)
    # A backslash in a cleaned path is of something that could not be printed.
    if not name or name[0] == "/" or name[1:2] == ":" or climbs or "\\x00" in name:
        return "unsafe-path", "The path is empty, absolute, names a drive, climbs out with .., or holds a NUL."
    if len(name) > MAX_NAME:
        return "unsafe-path", f"The path has more than {MAX_NAME:,} characters."
    if is_part(name):
        return "split", "It is a part of an archive that was split into several."
    if name[-5:].lower().endswith(ARCHIVE_SUFFIXES):
        return "nested-archive", "An archive inside the delivery is not opened; hand it over on its own."
    return None


def is_bomb(size: np.ndarray, packed: np.ndarray) -> np.ndarray:
    """Whether members declare absurdly more bytes, unpacked, than they have in the archive."""
    return (size > HARMLESS_BYTES) & (size // MAX_RATIO > packed)
