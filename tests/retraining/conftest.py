"""A home with an empty registry."""

from __future__ import annotations

from functools import partial

import pytest
from stored import StoreBatch, store_patients

from bcd.settings import Settings
from bcd.store.catalog import Catalog, open_catalog


@pytest.fixture
def settings(registry_settings: Settings) -> Settings:
    return registry_settings


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return open_catalog(settings)


@pytest.fixture
def store_batch(settings: Settings, catalog: Catalog) -> StoreBatch:
    return partial(store_patients, settings, catalog)
