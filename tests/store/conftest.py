from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.patches import BatchId, Hospital
from bcd.settings import Settings, load_settings
from bcd.store.batches import CANONICAL, write_batch
from bcd.store.catalog import Catalog, open_catalog
from bcd.store.deliveries import DeliveryRecord, record_delivery

StoreBatch = Callable[..., BatchId]
MakeIndex = Callable[[str, Iterable[str], Iterable[int | None]], pd.DataFrame]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("BCD_CATALOG_URL", raising=False)
    return load_settings(tmp_path / "home")


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return open_catalog(settings)


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
        pixels = (
            np.zeros((len(index), 50, 50, 3), np.uint8) + np.arange(len(index), dtype=np.uint8)[:, None, None, None]
        )
        batch = write_batch(settings, index, pixels, np.arange(len(index)))
        record = DeliveryRecord(
            id=f"delivery of {batch}",
            hospital=Hospital(hospital),
            name="delivery.zip",
            batch=batch,
            admitted=len(index),
            refused={},
            ignored=0,
            patients=index["patient"].nunique(),
            positive=int((index["label"] == 1).sum()),
            unlabelled=int(index["label"].isna().sum()),
        )
        record_delivery(catalog, record, index, [])
        return batch

    return store
