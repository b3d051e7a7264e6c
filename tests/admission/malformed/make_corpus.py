"""The corpus of malformed files and archives, each with what is to become of it.

`python make_corpus.py FOLDER` writes all of it, to look at or to try on another program.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bad_names import bad_names, odd_names
from bad_pictures import bad_pictures
from bad_slides import bad_slides
from bad_tables import bad_tables
from bad_tars import bad_tars
from bad_zips import bad_zips
from cases import BadDelivery, BadFile, name_of, patch

__all__ = ["bad_archives", "bad_files", "good_files", "odd_names"]


def bad_files() -> list[BadFile]:
    """Returns the cases that are one file of a delivery each."""
    return [*bad_pictures(), *bad_names(), *bad_tables(), *bad_slides()]


def bad_archives() -> list[BadDelivery]:
    """Returns the cases that are a delivery each."""
    return [*bad_zips(), *bad_tars()]


def good_files(patients: int = 20) -> dict[str, bytes]:
    """Returns whole patches, to lie beside what is malformed."""
    return {name_of(f"G{n:02}", place): patch() for n in range(patients) for place in range(2)}


def main(folder: Path) -> None:
    """Writes the corpus into a folder: `files/`, as one delivery, and `archives/`."""
    for file in [*bad_files(), *(case for case, _ in odd_names())]:
        path = folder / "files" / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
    (folder / "archives").mkdir(parents=True, exist_ok=True)
    for archive in bad_archives():
        (folder / "archives" / archive.name).write_bytes(archive.data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
