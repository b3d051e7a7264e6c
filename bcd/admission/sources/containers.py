"""What a file is, when it is no delivery that can be opened: told by its first bytes, whatever it is called.

The later parts of a split archive begin anywhere; they alone are told by their names.
"""

from __future__ import annotations

import re
from pathlib import Path

from bcd.store.table_files import SPREADSHEET_SUFFIXES, SUFFIXES

ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"PK\x07\x08": "split zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"\x1f\x8b": "gzip",
    b"\x1f\x9d": "compress",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x5d\x00\x00": "LZMA",
    b"LZIP": "lzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"MSCF": "cab",
    b"xar!": "xar",
}
"""What archives and compressed files begin with, and what they are called."""

_OTHERS = {
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"<!doctype html": "a web page; perhaps the download asked for a password",
    b"<html": "a web page; perhaps the download asked for a password",
}

_PART = re.compile(
    r".*\.(z[0-9]{2,3}|r[0-9]{2}|part[0-9]+\.(rar|zip|7z)|(zip|7z|rar|tar|gz|tgz)\.([0-9]{3}|a[a-z]))",
    re.IGNORECASE | re.DOTALL,
)
_NUMBERED = re.compile(r"\.[0-9]{3}", re.ASCII)  # of any file, such as a DICOM one; of an archive, a part

_HEAD = 16


def archive_kind(head: bytes) -> str | None:
    """Returns what kind of archive begins so; None where none does."""
    return next((kind for beginning, kind in ARCHIVES.items() if head.startswith(beginning)), None)


def is_part(name: str) -> bool:
    """Whether a file is called as a part of a split archive: `x.z01`, `x.7z.002`, `x.part3.rar`."""
    return _PART.fullmatch(name) is not None


def is_table(path: Path) -> bool:
    """Whether a file is called as a table or a spreadsheet; plain text is one if it is called `labels.txt`."""
    suffix = path.suffix.lower()
    return suffix in {*SUFFIXES, *SPREADSHEET_SUFFIXES} - {".txt"} or path.name.lower() == "labels.txt"


def describe_file(path: Path) -> tuple[str, str]:
    """Says why a file cannot be opened as a delivery.

    Returns:
        Code of the rule that it breaks, and what it is, to follow its name.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    kind = archive_kind(head)
    if kind == "split zip" or is_part(path.name) or (kind and _NUMBERED.fullmatch(path.suffix)):
        return (
            "split",
            f"is one part of {_an_archive(kind if kind != 'split zip' else None)}archive that was split into several",
        )
    if kind in {"gzip", "bzip2", "xz", "LZMA", "lzip", "Zstandard", "LZ4", "compress"}:
        return "container", f"is {_an_archive(kind)}file{' that holds no tar' if kind == 'gzip' else ''}"
    if kind is not None and kind != "zip":
        return (
            "container",
            f"is {_an_archive(kind)}archive{'' if _suffix_says(path, kind) else ', whatever its name says'}",
        )
    if not head:
        return "empty", "has no bytes"
    other = next((what for beginning, what in _OTHERS.items() if head.lower().startswith(beginning.lower())), None)
    if other is not None:
        return "no-delivery", f"is {other}"
    return "no-delivery", "is neither a folder nor a whole zip, nor a tar (plain or gzip), nor a slide"


def _an_archive(kind: str | None) -> str:
    if kind is None:
        return "an "
    return f"{'an' if kind in {'xz', 'LZMA', 'LZ4'} else 'a'} {kind} "


def _suffix_says(path: Path, kind: str) -> bool:
    return path.suffix.lower() in {"", f".{kind.lower()}"}
