"""A home with an empty registry, and the catalog of the five versions that nothing was decided on."""

from __future__ import annotations

import pytest
from registered import registry_settings as settings
from registered import undecided_store as store
from stored import store as empty_store

from bcd.gate.history import list_versions_with_verdicts
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, load_snapshot

__all__ = ["empty_store", "settings", "store"]


@pytest.fixture
def first(undecided: Settings) -> Snapshot:
    """The snapshot that the five versions were trained on."""
    return load_snapshot(undecided, list_versions_with_verdicts(undecided)[0].snapshot)
