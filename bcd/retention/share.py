"""Puts a home that was made without `store_url` into the store, so that other machines find what it holds.

Examples:
    >>> share_home(load_settings())  # doctest: +SKIP
    812
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.progress import track_progress
from bcd.store.copies import follow_changes
from bcd.store.objects import put, require

if TYPE_CHECKING:
    from bcd.settings import Settings

_SHARED = (
    "store/batches/[0-9a-f]*",
    "store/snapshots/[0-9a-f]*",
    "store/quarantine/[0-9a-f]*",
    "scores/*/*/[!.]*",
    "shadow/*/*/[!.]*",
    "reports/[!.]*.*",
    "work/*/evaluation",
    "work/*/graph",
    "work/*/pictures",
    "work/*/[!.]*.json",
    "work/last-*",
)
"""What is whole as soon as it has its name."""


def share_home(settings: Settings) -> int:
    """Puts what a home holds into the store, and returns of how many folders and files; the same again costs little.

    Raises:
        UnavailableError: The store is out of reach.
    """
    follow_changes(settings)  # what was erased there is not put again
    found = sorted({*chain.from_iterable(settings.home.glob(each) for each in _SHARED), *_find_networks(settings)})
    with track_progress("Copying to the store", total=len(found)) as advance:
        for path in found:
            put(settings, require(settings, path))  # what is there already counts
            advance(1)
    return len(found)


def _find_networks(settings: Settings) -> list[Path]:
    """Returns the folders of finished trainings; an ensemble is one folder, and is whole where its graph is."""
    alone = [record.parent for record in settings.work.glob("*/*/training.json")]
    return alone + [graph.with_name("network") for graph in settings.work.glob("*/graph")]
