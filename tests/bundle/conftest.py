"""A home with an empty registry, and the catalog of the five versions that nothing was decided on."""

from __future__ import annotations

import pytest

from bcd.settings import Settings
from bcd.store.catalog import Catalog


@pytest.fixture
def settings(registry_settings: Settings) -> Settings:
    return registry_settings


@pytest.fixture
def catalog(undecided_catalog: Catalog) -> Catalog:
    return undecided_catalog
