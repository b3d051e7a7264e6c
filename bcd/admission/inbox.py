"""The inbox after a delivery that cannot be admitted at all: it is set aside, with the reason beside it.

Left where it was, it would be tried again every minute; deleted, it would be lost.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from bcd.files import whole_file
from bcd.patches import Hospital
from bcd.settings import Settings


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
