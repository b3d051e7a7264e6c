"""Claims: who works where on this machine. The system takes a claim back from a process that dies."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


class Claim:
    """A file that this process alone holds, until it releases it or dies.

    Args:
        file: The locked file.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def release(self) -> None:
        """Lets others have it; a second call changes nothing."""
        self._file.close()


def claim(folder: Path) -> Claim:
    """Claims a folder, waiting for whoever holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return Claim(file)


def claim_abandoned(folder: Path) -> Claim | None:
    """Claims a folder that somebody has claimed before and nobody holds now; None where there is no such."""
    try:
        file = (folder / "lock").open("r+")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return Claim(file)
