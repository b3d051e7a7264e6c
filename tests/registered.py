"""Fixtures that several packages share: a registry, tiny networks, and a tiny hospital to evaluate them on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patients import freeze_patches, list_patches
from stored import new_store

from bcd.bundle.card.card import Card
from bcd.bundle.engine import EngineRecord, describe_engine
from bcd.bundle.record import BundleRecord
from bcd.bundle.registry import Bundle, register_bundle
from bcd.bundle.write import write_graph
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import Calibrator
from bcd.evaluation.policy.policy import Policy
from bcd.gate.history import list_versions_with_verdicts
from bcd.gate.options import GateOptions
from bcd.gate.promotion import run_gate
from bcd.gate.verdict import Verdict
from bcd.networks.architecture import PRESETS
from bcd.preprocessing.options import PrepareOptions
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, load_snapshot
from bcd.store.store import Store
from bcd.tracking.store import open_mlflow_client, start_run
from bcd.training.options import EnsembleOptions, TrainOptions, Turns

PATCHES = 6  # of each patient, half of them IDC

MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def empty_database(make_once: MakeOnce) -> Path:
    """MLflow's tables, made once: they take seconds."""
    from mlflow import MlflowClient

    def fill(folder: Path) -> None:
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_registered_models()

    return make_once("mlflow", fill) / "mlflow.db"


def make_settings(home: Path, empty_database: Path) -> Settings:
    made = Settings(home=home)
    made.mlflow.mkdir(parents=True)
    shutil.copy(empty_database, made.mlflow / "mlflow.db")
    return made


@pytest.fixture
def registry_settings(tmp_path: Path, empty_database: Path) -> Settings:
    return make_settings(tmp_path / "home", empty_database)


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Settings:
    """A home that the tests of one module share: registering a bundle takes a second."""
    return make_settings(tmp_path_factory.mktemp("shared") / "home", empty_database)


@pytest.fixture(scope="module")
def ensemble_settings(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Settings:
    """A home that the tests of one module share for an ensemble."""
    return make_settings(tmp_path_factory.mktemp("ensemble") / "home", empty_database)


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks that know the answer from a patch's brightness: well, badly, and the wrong way round."""
    import keras

    folder = tmp_path_factory.mktemp("networks")
    files = {}
    for name, weights in {"red": (9.0, 0.0), "green": (0.0, 9.0), "wrong": (-9.0, 0.0)}.items():
        patches = keras.Input((50, 50, 3))
        values = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(patches))
        logit = keras.layers.Dense(1, use_bias=True)
        network = keras.Model(patches, logit(values))
        logit.set_weights([np.array([[weights[0]], [weights[1]], [0.0]]), np.array([-sum(weights) / 2])])
        files[name] = folder / f"{name}.keras"
        network.save(files[name])
    files["lit"] = folder / "lit.keras"
    _make_lit().save(files["lit"])
    return files


def _make_lit() -> Any:
    """Returns a network that looks at a patch's upper left corner only, so that turning the patch matters."""
    import keras

    patches = keras.Input((50, 50, 3))
    corner = keras.layers.Cropping2D(((0, 40), (0, 40)))(keras.layers.Rescaling(1 / 255)(patches))
    logit = keras.layers.Dense(1)
    network = keras.Model(patches, logit(keras.layers.GlobalAveragePooling2D()(corner)))
    logit.set_weights([np.array([[20.0], [-20.0], [5.0]]), np.array([0.0])])
    return network


def _make_hospital(settings: Settings, name: str = "a", gate: int = 12, offset: int = 0) -> Snapshot:
    """Writes a batch and its snapshot: flat patches, red tells IDC exactly, green tells it a little.

    The train patients are named from `offset` on, the gate patients from 1000 on.
    """
    random = np.random.default_rng(7)
    splits = {f"{offset + i}": "train" for i in range(4)} | {f"{offset + 100 + i}": "val" for i in range(2)}
    splits |= {f"{1000 + i}": "gate" for i in range(gate)}
    patches = list_patches(splits, [i % 2 for i in range(PATCHES)], hospital="h1", slide="1")
    noise = random.integers([-20, -40, 0], [21, 41, 1], (len(patches), 3))
    colours = np.array([60, 100, 100]) + np.outer(patches["label"], [120, 15, 0]).astype(int) + noise
    pixels = np.broadcast_to(colours.astype(np.uint8)[:, None, None, :], (len(patches), 50, 50, 3))
    return freeze_patches(settings, patches, pixels, name)


@pytest.fixture(scope="session")
def make_hospital() -> Callable[..., Snapshot]:
    return _make_hospital


Register = Callable[..., Bundle]


def make_record(snapshot: str = "a" * 64, **changes: Any) -> BundleRecord:
    return BundleRecord(
        **{
            "preparation": PrepareOptions(),
            "architecture": PRESETS["compact"],
            "training": TrainOptions(),
            "engine": EngineRecord(version="1", sha256="0" * 64),
            "policy": Policy(calibrator=Calibrator(slope=1.0, intercept=0.0), levels=(0.8, 0.95, 0.9999)),
            "snapshot": snapshot,
            "protocol": "dealt",
            "metrics": {"test_auroc_pooled": 0.953, "test_accuracy_pooled": 0.91},
        }
        | changes
    )


@pytest.fixture(scope="session")
def make_graph(networks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the graph of some of the tiny networks, once."""

    @cache
    def _make_graph(*members: str) -> Path:
        folder = tmp_path_factory.mktemp("graph") / "graph"
        write_graph([networks[member] for member in members], folder)
        return folder

    return _make_graph


@pytest.fixture(scope="session")
def register(networks: dict[str, Path], make_graph: Callable[..., Path]) -> Register:
    """Registers one of the tiny networks, or several as an ensemble, as the next version."""

    def _register(
        settings: Settings,
        *members: str,
        key: str | None = None,
        snapshot: str = "a" * 64,
        turns: Turns = 1,
        card: Card | None = None,
    ) -> Bundle:
        name, graph = " ".join(members), make_graph(*members)
        ensemble = EnsembleOptions(members=len(members), turns=turns)
        with start_run(settings, key=f"train/{key or name}", name=name, kind="train") as run:
            return register_bundle(
                settings,
                key=key or name,
                run_id=run.id,
                networks=[networks[member] for member in members],
                graph=graph,
                record=make_record(snapshot, engine=describe_engine(graph), ensemble=ensemble),
                example=np.zeros((2, 50, 50, 3), np.uint8),
                card=card,
            )

    return _register


def copy_home(home: Path, to: Path) -> Settings:
    """Copies a home with its registry: the addresses in it follow when it is opened."""
    shutil.copytree(home, to)
    return Settings(home=to)


@pytest.fixture(scope="session")
def five_versions(
    make_once: MakeOnce,
    empty_database: Path,
    register: Register,
    make_hospital: Callable[..., Snapshot],
) -> Path:
    """A home with five versions, to be copied: registering a bundle takes a second."""

    def fill(folder: Path) -> None:
        settings = make_settings(folder / "home", empty_database)
        snapshot = make_hospital(settings)
        leaky = make_hospital(settings, name="b", gate=0, offset=1000)
        for number, network in enumerate(["green", "red", "wrong", "red", "red"], 1):
            register(settings, network, key=str(number), snapshot=(leaky if number == 5 else snapshot).id)

    return make_once("versions", fill) / "home"


@pytest.fixture(scope="module")
def versions_home(five_versions: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with five versions: a fair network, a good one, one that has it the wrong way round, the good one again,
    and one that was trained on gate patients."""
    made = copy_home(five_versions, tmp_path_factory.mktemp("versions") / "home")
    open_mlflow_client(made)  # the addresses in its registry follow
    _copy_database(made.mlflow / "mlflow.db", made.home / "undecided.db")
    return made


@pytest.fixture
def undecided(versions_home: Settings, tmp_path: Path) -> Settings:
    """The five versions before anything was decided, with a catalog of the test's own."""
    _copy_database(versions_home.home / "undecided.db", versions_home.mlflow / "mlflow.db")
    return versions_home.model_copy(update={"catalog_url": f"sqlite:///{tmp_path / 'catalog.db'}"})


def _copy_database(source: Path, target: Path) -> None:
    """Copies a SQLite database over another one, which others may have open."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture
def undecided_store(undecided: Settings) -> Store:
    return new_store(undecided)


def read_aliases(settings: Settings) -> dict[str, str]:
    """Who holds which alias, except for that of the anchor, which has tests of its own."""
    found = {alias: one.version for one in list_versions_with_verdicts(settings) for alias in one.aliases}
    return {alias: version for alias, version in found.items() if alias != "anchor"}


@pytest.fixture
def gate(undecided: Settings, undecided_store: Store) -> Callable[..., Verdict]:
    """Runs the gate on a version, on the snapshot of the first one."""
    first = list_versions_with_verdicts(undecided)[0].snapshot

    def _gate(challenger: str, key: str | None = None, on: Snapshot | None = None, **options: Any) -> Verdict:
        return run_gate(
            undecided_store,
            key=key or f"gate/{challenger}",
            snapshot=on or load_snapshot(undecided, first),
            challenger=challenger,
            options=GateOptions(**options),
            evaluate=EvaluateOptions(resamples=200),
        )

    return _gate
