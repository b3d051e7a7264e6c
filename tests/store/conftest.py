"""A home whose catalog is on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import pytest

from bcd.settings import Settings
from bcd.store.catalog import Catalog


@pytest.fixture
def settings(stored_settings: Settings) -> Settings:
    return stored_settings


@pytest.fixture
def catalog(stored_catalog: Catalog) -> Catalog:
    return stored_catalog
