"""A Dask cluster scores patients and cuts slides as one process does, also where one of its own is killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from distributed import LocalCluster
from patients import list_patches, store_patches
from stored import new_store

from bcd.admission.admit import admit
from bcd.gate.adoption import make_released_champion
from bcd.patches import Hospital
from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.hospitals import declare_hospital
from bcd.store.ledger import list_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_server")]

PATIENTS = ["1", "2", "3", "4"]


@pytest.fixture
def store(
    bucket: object, registry_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """Four patients whom the champion has not scored, in a bucket."""
    for name, value in {
        "BCD_HOME": registry_settings.home,
        "BCD_CATALOG_URL": f"sqlite:///{tmp_path / 'catalog.db'}",
        "BCD_MLFLOW_URL": f"sqlite:///{registry_settings.mlflow / 'mlflow.db'}",
        "BCD_STORE_URL": "s3://east/bcd",
    }.items():
        monkeypatch.setenv(name, str(value))
    with new_store(load_settings()) as store:
        patches = list_patches(PATIENTS, [0, 1] * 20)
        pixels = np.random.default_rng(0).integers(0, 256, (len(patches), 50, 50, 3), dtype=np.uint8)
        store_patches(store, patches, pixels)
        make_released_champion(store, SignOff("test", "test"))
        yield store


@pytest.fixture
def cluster(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of another machine, whose two processes Dask's scheduler has; the settings name it."""
    home = tmp_path / "other"
    home.mkdir()
    (home / "mlflow").symlink_to(store.settings.mlflow)  # in the place of a server of MLflow
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, env={"BCD_HOME": str(home)}) as made:
        monkeypatch.setenv("BCD_RUN__ENGINE", "dask")
        monkeypatch.setenv("BCD_RUN__DASK_ADDRESS", made.scheduler_address)
        yield home


class Killer:
    """Kills the first process that is seen to write a patient's scores."""

    def __init__(self, home: Path) -> None:
        self.killed: list[str] = []
        self._home, self._end = home, Event()
        self._thread = Thread(target=self._watch)

    def _watch(self) -> None:
        while not (self.killed or self._end.wait(0.005)):
            for partial in self._home.glob("scores/*/*/.partial-*"):
                os.kill(int(partial.name.split("-")[2]), signal.SIGKILL)
                self.killed.append(partial.parent.name)
                return

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def test_a_process_that_is_killed_loses_no_patient_and_each_is_scored_once(store: Store, cluster: Path) -> None:
    from prefect.artifacts import Artifact

    from flows.score import score

    with Killer(cluster) as killer:
        scores = score(all_that_wait=True)
    assert [each.patient for each in scores] == PATIENTS
    ends = Counter((entry.patient, entry.status) for entry in list_ledger(store))
    assert ends == Counter((patient, "scored") for patient in PATIENTS)
    begun = store.rows(sa.select(tables.ledger).where(tables.ledger.c.status == "started"))
    assert len(killer.killed) == 1
    assert Counter(row.patient for row in begun) == Counter(PATIENTS + killer.killed)
    table = Artifact.get("scored")
    assert table is not None
    assert [line.split("|")[1].strip() for line in str(table.data).splitlines()[2:]] == [
        f"east/{patient}" for patient in PATIENTS
    ]
    for each in scores:  # done in another home, and opened in this one
        assert each.report.is_relative_to(store.settings.home)
        assert "Research use only" in each.report.read_text()
        assert all(picture.heatmap.exists() for picture in each.pictures)
    assert score(all_that_wait=True) == []


def test_slides_that_a_cluster_cuts_are_the_batch_that_one_process_makes(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.ingest import ingest

    random = np.random.default_rng(0)
    delivery = tmp_path / "slides"
    delivery.mkdir()
    for name in ("8867_idx1", "8867_idx2", "9001_idx1"):
        slide = np.full((400, 400, 3), 240, np.uint8)
        slide[50:250, 100:300] = np.array([200, 110, 170]) + random.integers(-60, 40, (200, 200, 3))
        cv2.imwrite(str(delivery / f"{name}.png"), slide[..., ::-1])
    cv2.imwrite(str(delivery / "9001_idx2.png"), np.full((400, 400, 3), 240, np.uint8))

    def declare(home: Settings) -> Store:
        store = new_store(home)
        declare_hospital(store, "east", "pseudonyms", SignOff("test", "test"))
        return store

    alone = admit(declare(Settings(home=tmp_path / "alone")), delivery, Hospital("east"), spacing=4.0)
    declare(settings)
    monkeypatch.setenv("BCD_RUN__ENGINE", "dask")
    monkeypatch.delattr("bcd.admission.slides.tiling.average_slide")  # this process cuts none
    [admission] = ingest(str(delivery), "east", 4.0)
    assert (admission.admitted, admission.refused) == (48, {"no-tissue": 1})
    assert (admission.batch, admission.refused) == (alone.batch, alone.refused)
    assert not list(settings.scratch.iterdir())
