"""A home with an empty registry."""

from __future__ import annotations

import pytest

from bcd.settings import Settings


@pytest.fixture
def settings(registry_settings: Settings) -> Settings:
    return registry_settings
