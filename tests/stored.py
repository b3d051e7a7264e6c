"""A catalog on SQLite and on a real PostgreSQL, and batches of made-up patches in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from patients import list_batch, list_patches, store_patches

from bcd.patches import BatchId
from bcd.settings import Settings, load_settings
from bcd.store.store import Store, open_store

StoreBatch = Callable[..., BatchId]
MakeIndex = Callable[[str, Iterable[str], Iterable[int | None]], pd.DataFrame]


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
    opened = open_store(settings)
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
