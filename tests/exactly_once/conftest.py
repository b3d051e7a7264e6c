"""Homes with an earlier batch, on both databases, and processes that admit into them."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import Settings, load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

sys.path.insert(0, str(Path(__file__).parent))  # processes that are started import `admitting` by its name

from admitting import PRELOAD
from delivering import patch_files, picture, write_zip
from leftovers import opened

EAST = Hospital("east")


@pytest.fixture(scope="session")
def full_size() -> bool:
    """Whether to run at the size that is promised, as `make exactly-once` does."""
    return os.environ.get("BCD_TEST_FULL") == "1"


@pytest.fixture(scope="session")
def processes() -> Any:
    """Makes processes in which all libraries are loaded when they start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def first_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Settings]:
    """A home on either database that holds an earlier batch and an earlier refusal."""
    made: dict[str, Settings] = {}

    def make(database: str) -> Settings:
        if database not in made:
            settings = load_settings(tmp_path_factory.mktemp(database) / "home")
            if database == "postgresql":
                postgres = request.getfixturevalue("postgres")
                url = postgres.url(postgres.make_database(request.getfixturevalue("empty_catalog")))
                settings = settings.model_copy(update={"catalog_url": url})
            files = {**patch_files("old", range(8)), "old_idx5_x951_y1_class0.png": picture(99, width=42)}
            with opened(settings) as store:
                declare_hospital(store, EAST, "pseudonyms", SignOff("test", "test"))
                admit(store, write_zip(settings.home.with_name("earlier.zip"), files), EAST)
            made[database] = settings
        return made[database]

    return make


@pytest.fixture
def store(home: Settings) -> Iterator[Store]:
    """The catalog of the test's own home."""
    with opened(home) as store:
        yield store


@pytest.fixture
def copy_home(
    request: pytest.FixtureRequest, first_home: Callable[[str], Settings], database: str, tmp_path: Path
) -> Iterator[Callable[[str], Settings]]:
    """Copies the home with the earlier batch, its database included, to a folder of the test."""
    databases = []

    def copy(name: str) -> Settings:
        first = first_home(database)
        shutil.copytree(first.home, tmp_path / name)
        settings = load_settings(tmp_path / name)
        if database == "postgresql":
            postgres = request.getfixturevalue("postgres")
            databases.append(postgres.make_database(str(sa.make_url(first.catalog_url).database)))
            settings = settings.model_copy(update={"catalog_url": postgres.url(databases[-1])})
        return settings

    yield copy
    for made in databases:
        request.getfixturevalue("postgres").drop_database(made)
