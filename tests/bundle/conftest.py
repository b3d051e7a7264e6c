"""A home with an empty registry, and the catalog of the five versions that nothing was decided on."""

from __future__ import annotations

import pytest

from bcd.settings import Settings
from bcd.store.store import Store


@pytest.fixture
def settings(registry_settings: Settings) -> Settings:
    return registry_settings


@pytest.fixture
def store(undecided_store: Store) -> Store:
    return undecided_store
