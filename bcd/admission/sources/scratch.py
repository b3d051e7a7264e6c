"""Temporary folders that are gone when the work ends, and swept after a process that was killed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bcd.files import _make_room


@contextmanager
def scratch_folder(scratch: Path) -> Iterator[Path]:
    """Yields a new empty folder below `scratch` that is removed after the block.

    Its name holds the machine and the process; what killed processes left in `scratch` is swept first.
    """
    folder = Path(tempfile.mkdtemp(prefix=_make_room(scratch), dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
