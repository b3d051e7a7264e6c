"""A catalog on SQLite and on a real PostgreSQL, and batches of made-up patches in it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from patients import list_batch, list_patches, store_patches

from bcd.patches import BatchId
from bcd.settings import Settings, load_settings
from bcd.store.store import Store, open_store

StoreBatch = Callable[..., BatchId]
MakeIndex = Callable[[str, Iterable[str], Iterable[int | None]], pd.DataFrame]


def new_store(settings: Settings) -> Store:
    """Opens a store; a new catalog on SQLite is a copy of one that was made once: its tables take 0.1 s."""
    url = sa.make_url(settings.catalog)
    path = Path(str(url.database))
    if url.get_backend_name() == "sqlite" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty_catalog())
    return open_store(settings)


@cache
def _empty_catalog() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        home = Settings(home=Path(folder))
        open_store(home).engine.dispose()
        return (home.home / "catalog.db").read_bytes()


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A fresh BCD_HOME, with its catalog on each database in turn."""
    monkeypatch.delenv("BCD_CATALOG_URL", raising=False)
    home = load_settings(tmp_path / "home")
    if request.param == "sqlite":
        return home
    return home.model_copy(update={"catalog_url": request.getfixturevalue("postgres_url")})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = new_store(settings)
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="session")
def make_index() -> MakeIndex:
    return _make_index


def _make_index(hospital: str, patients: Iterable[str], labels: Iterable[int | None]) -> pd.DataFrame:
    return list_batch(list_patches(patients, list(labels), hospital=hospital)).reset_index(drop=True)


@pytest.fixture
def store_batch(store: Store) -> StoreBatch:
    """Stores a batch of made-up patches; patch i of a batch has all pixels i."""
    return partial(store_patients, store)


def store_patients(
    store: Store,
    patients: Iterable[str],
    *,
    labels: Iterable[int | None] = (0, 1),
    hospital: str = "east",
) -> BatchId:
    patches = list_patches(sorted(patients), list(labels), hospital=hospital)
    shades = np.arange(len(patches)).astype(np.uint8)
    return store_patches(store, patches, np.broadcast_to(shades[:, None, None, None], (len(patches), 50, 50, 3)))
