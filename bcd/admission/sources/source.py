"""What every source of files offers, whether a folder or an archive, and which of its names are litter.

A member is known by its number: `names[member]` is its path in the delivery. With millions of members, an object each
would cost more memory than all the pixels under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

LITTER = frozenset(
    {
        ".appledb",
        ".appledesktop",
        ".appledouble",
        ".apdisk",
        ".directory",
        ".documentrevisions-v100",
        ".ds_store",
        ".fseventsd",
        ".localized",
        ".spotlight-v100",
        ".temporaryitems",
        ".trashes",
        ".volumeicon.icns",
        "#recycle",
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "desktop.ini",
        "dicomdir",  # the list of contents of a DICOM export
        "icon\r",  # of a folder with a picture of its own, as macOS names it
        "icon\\r",  # the same in the listing of a delivery
        "icon\uf00d",  # and on disks of Windows
        "icon\\uf00d",
        "ehthumbs.db",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)
"""Files and folders that operating systems and storage boxes leave behind, in lower case."""

LITTER_PREFIXES = ("._", "~$", ".~lock.", ".nfs", ".trash-")
"""What names of litter begin with, in lower case."""

MAX_MEMBERS = 5_000_000
"""Members that a delivery may have: eighteen times the public set."""


class UnreadableFileError(Exception):
    """A file of a delivery cannot be read: damaged in its archive, forbidden.

    Attributes:
        rule: Code of the rule that it breaks.
    """

    rule = "unreadable"


class OverlongFileError(UnreadableFileError):
    """A member of an archive unpacks to more bytes than the archive declares."""

    rule = "bomb"


class EncryptedFileError(UnreadableFileError):
    """A member of an archive is encrypted."""

    rule = "encrypted"


class PackedFileError(UnreadableFileError):
    """A member of an archive is packed by a method that is not unpacked."""

    rule = "compression"


class Source(Protocol):
    """A delivery that is open for reading."""

    @property
    def names(self) -> Sequence[str]:
        """Path of every file in it, with `/`, printable; litter too. Reading in this order is the cheapest."""
        ...

    def size(self, member: int) -> int:
        """Returns the size of a file in bytes, as declared."""
        ...

    def hazard(self, member: int) -> tuple[str, str] | None:
        """Returns the rule that the listing alone shows to be broken, and a sentence; None where it shows none."""
        ...

    def read(self, member: int, limit: int) -> bytes:
        """Reads at most the first `limit` bytes of a file, checked where that is all of it; several threads may.

        Raises:
            UnreadableFileError: The file cannot be read.
        """
        ...

    def copy(self, member: int, target: Path) -> None:
        """Copies a whole file, however large, to `target` in bounded memory; leaves none where it fails.

        Raises:
            UnreadableFileError: The file cannot be read.
        """
        ...


def is_litter(name: str) -> bool:
    """Whether an operating system left a file behind: `.DS_Store`, `Thumbs.db`, `__MACOSX/…`, and the like."""
    parts = name.lower().split("/")
    return not LITTER.isdisjoint(parts) or parts[-1].startswith(LITTER_PREFIXES) or parts[0].startswith(".trash-")
