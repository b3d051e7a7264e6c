"""A home with a champion in a real registry, a catalog of each test's own, and patches with stored scores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from patients import store_patches
from stored import new_store

from bcd.evaluation.policy.context import CONTEXT
from bcd.patches import Hospital, PatientId
from bcd.scoring.result import SPREAD
from bcd.settings import Settings
from bcd.store.hospitals import declare_hospital
from bcd.store.ledger import LedgerEntry, record_in_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client


@pytest.fixture(scope="module")
def champion(shared_settings: Settings, register, make_hospital) -> Settings:
    """Two versions: the first saw hospital h1's patients 0 to 3, the second, champion, also 20 to 23."""
    for number, offset in ((1, 0), (2, 20)):
        snapshot = make_hospital(shared_settings, name=str(number), offset=offset, gate=0)
        register(shared_settings, "red", key=str(number), snapshot=snapshot.id)
    open_mlflow_client(shared_settings).set_registered_model_alias(MODEL, "champion", "2")
    return shared_settings


@pytest.fixture
def store(champion: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    monkeypatch.setenv("BCD_HOME", str(champion.home))
    monkeypatch.setenv("BCD_CATALOG_URL", url)
    opened = new_store(champion.model_copy(update={"catalog_url": url}))
    for hospital in ("east", "h1"):
        declare_hospital(opened, hospital, "pseudonyms", SignOff("Mary", "test"))
    return opened


Admit = Callable[..., pd.DataFrame]


@pytest.fixture
def admit(store: Store) -> Admit:
    """Admits patients with one row of patches each, side by side, of which the scores are stored."""

    def _admit(
        patients,
        probabilities,
        *,
        labels=None,
        hospital="east",
        bundle="bcd-idc/2",
        spread=np.nan,
        context=np.nan,
        scored=True,
    ) -> pd.DataFrame:
        width = len(probabilities)
        said = [None] * width if labels is None else labels
        rows = [
            {"hospital": hospital, "patient": patient, "slide": "5", "x": 1 + 50 * at, "y": 51, "label": label}
            for patient in patients
            for at, label in enumerate(said)
        ]
        patches = pd.DataFrame(rows).astype({"label": "Int8"})
        shades = np.random.default_rng(0).integers(0, 255, (len(patches), 1, 1, 3))
        pixels = np.broadcast_to(shades.astype(np.uint8), (len(patches), 50, 50, 3))
        store_patches(store, patches, pixels, name=f"{hospital}-{patients[0]}")
        told = {"probability": np.tile(probabilities, len(patients)), CONTEXT: context, SPREAD: spread}
        scores = patches.assign(**told)
        for patient in patients if scored else ():
            keep_scores(store, scores[scores["patient"] == patient], bundle)
        return scores

    return _admit


@pytest.fixture
def keep(store: Store) -> Callable[[pd.DataFrame, str], None]:
    return lambda scores, bundle: keep_scores(store, scores, bundle)


def keep_scores(store: Store, scores: pd.DataFrame, bundle: str) -> None:
    """Keeps scores of one patient where scoring leaves them, with their entry in the ledger."""
    first = scores.iloc[0]
    catalog = Path(str(store.engine.url.database)).parent.name  # tests share the home
    folder = store.settings.scores / first["hospital"] / first["patient"] / f"{bundle.replace('/', '-')}-{catalog}"
    folder.mkdir(parents=True, exist_ok=True)
    scores.to_parquet(folder / "scores.parquet", index=False)
    entry = LedgerEntry(
        hospital=Hospital(first["hospital"]),
        patient=PatientId(first["patient"]),
        bundle=bundle,
        content="0" * 64,
        status="scored",
        at=datetime.now(UTC),
        folder=folder.relative_to(store.settings.home).as_posix(),
    )
    record_in_ledger(store, entry)
