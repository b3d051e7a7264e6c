"""A home with an empty registry."""

from __future__ import annotations

from functools import partial

import pytest
from stored import StoreBatch, new_store, store_patients

from bcd.settings import Settings
from bcd.store.store import Store


@pytest.fixture
def settings(registry_settings: Settings) -> Settings:
    return registry_settings


@pytest.fixture
def store(settings: Settings) -> Store:
    return new_store(settings)


@pytest.fixture
def store_batch(store: Store) -> StoreBatch:
    return partial(store_patients, store)
