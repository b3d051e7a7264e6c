"""A catalog on SQLite and on a real PostgreSQL, and batches of made-up patches in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.patches import BatchId, Hospital
from bcd.settings import Settings, load_settings
from bcd.store.batches import CANONICAL, write_batch
from bcd.store.deliveries import DeliveryRecord, Settlement, record_delivery
from bcd.store.spool import open_spool
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
    index = _make_index(hospital, patients, labels)
    rows = np.arange(len(index))
    with open_spool(store.settings) as spool:
        spool.append(np.zeros((len(index), 50, 50, 3), np.uint8) + rows.astype(np.uint8)[:, None, None, None])
        batch = write_batch(store.settings, index, spool, rows)
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
    record_delivery(store, Settlement(record, index))
    return batch
