"""A home that was moved or copied, and homes whose path MLflow would misread."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from bcd.bundle.card.facts import gather_card_facts
from bcd.bundle.registry import Bundle, load_bundle
from bcd.settings import Settings
from bcd.tracking import store
from bcd.tracking.moved import mlflow_artifacts_address, rewrite_mlflow_addresses
from bcd.tracking.store import EXPERIMENT, mlflow_database_url, open_mlflow_client, start_run

PATCHES = np.full((3, 50, 50, 3), 200, np.uint8)
ADDRESSES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}


@pytest.fixture(scope="module")
def odd_home(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Settings:
    """A home whose path holds a space, a percent sign and a hash."""
    settings = Settings(home=tmp_path_factory.mktemp("odd") / "a home%20of#bcd")
    settings.mlflow.mkdir(parents=True)
    shutil.copy(empty_database, settings.mlflow / "mlflow.db")
    return settings


@pytest.fixture(scope="module")
def bundle(odd_home: Settings, register: Callable[..., Bundle]) -> Bundle:
    return register(odd_home, "red", key="red")


@pytest.fixture
def moved(odd_home: Settings, bundle: Bundle, tmp_path: Path) -> Settings:
    """A copy of the home at another place."""
    shutil.copytree(odd_home.home, tmp_path / "new place", dirs_exist_ok=True)
    return Settings(home=tmp_path / "new place")


def addresses(settings: Settings) -> list[str]:
    """Returns every address of an artifact in MLflow's tables that names a place of bcd's."""
    url = mlflow_database_url(settings)
    assert url is not None
    with sa.create_engine(url).connect() as connection:
        texts: list[Any] = [
            connection.scalars(sa.select(sa.column(column)).select_from(sa.table(table)))
            for table, column in ADDRESSES.items()
        ]
        return [text for column in texts for text in column if text and "/mlruns/" not in text]


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Every path that this process opens from now on."""
    paths: list[str] = []
    listening = [True]

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening[0] and event in {"open", "os.listdir", "os.scandir", "sqlite3.connect"}:
            paths.append(str(arguments[0]))

    sys.addaudithook(listen)  # for ever: there is no way to take it back
    yield paths
    listening[0] = False


def test_all_of_a_home_with_an_odd_path_lies_in_it(odd_home: Settings, bundle: Bundle) -> None:
    assert [path.name for path in odd_home.home.parent.iterdir()] == ["a home%20of#bcd"]
    assert len(bundle.score(PATCHES)) == 3
    assert all(address.startswith(odd_home.home.as_uri()) for address in addresses(odd_home))


def test_a_copied_home_works_and_leaves_the_old_one_alone(
    odd_home: Settings, bundle: Bundle, moved: Settings, register: Callable[..., Bundle], opened: list[str]
) -> None:
    before = digest(odd_home.home)
    opened.clear()

    here = load_bundle(moved, "1")
    again = register(moved, "green", key="green")
    gather_card_facts(moved, here.record, open_mlflow_client(moved).get_model_version("bcd-idc", "1").run_id)

    assert here.score(PATCHES).equals(bundle.score(PATCHES))
    assert [path for path in opened if str(odd_home.home) in path or odd_home.home.as_uri() in path] == []
    assert (again.version, digest(odd_home.home)) == ("2", before)
    assert all(address.startswith(mlflow_artifacts_address(moved)) for address in addresses(moved))


def test_a_moved_home_works_without_the_old_one(
    odd_home: Settings, bundle: Bundle, moved: Settings, tmp_path: Path
) -> None:
    load_bundle(moved, "1")  # it follows the first move
    shutil.move(moved.home, tmp_path / "third")
    third = Settings(home=tmp_path / "third")

    with start_run(third, key="train/red", name="red", kind="train") as run:
        run.log_text("later", "note.md")

    assert load_bundle(third, "1").score(PATCHES).equals(bundle.score(PATCHES))
    assert not moved.home.exists()
    assert list(third.mlflow.rglob("note.md"))


def test_a_home_whose_experiment_was_deleted_for_good_is_followed_by_its_versions(
    odd_home: Settings, bundle: Bundle, moved: Settings
) -> None:
    url = mlflow_database_url(moved)
    assert url is not None
    with sa.create_engine(url).begin() as connection:
        for table in ("tags", "latest_metrics", "metrics", "params", "runs", "experiments"):
            connection.execute(sa.delete(sa.table(table)))
    assert load_bundle(moved, "1").score(PATCHES).equals(bundle.score(PATCHES))
    assert all(address.startswith(mlflow_artifacts_address(moved)) for address in addresses(moved))


def test_a_home_that_stays_where_it_is_is_not_written(
    odd_home: Settings, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_ready", {})
    before = (odd_home.mlflow / "mlflow.db").read_bytes()
    open_mlflow_client(odd_home)
    assert (odd_home.mlflow / "mlflow.db").read_bytes() == before


def test_addresses_follow_on_postgresql_too(odd_home: Settings, postgres, tmp_path: Path) -> None:
    url = sa.make_url(postgres.url(postgres.make_database())).set(drivername="postgresql+psycopg")
    old = mlflow_artifacts_address(odd_home)
    written: dict[str, list[str | None]] = {
        "experiments": [old],
        "runs": [f"{old}/a/artifacts", f"{old}-of-somebody-else/b/artifacts"],
        "logged_models": [f"{old}/models/m/artifacts"],
        "model_versions": [None],
    }
    with sa.create_engine(url).begin() as connection:
        for name, column in ADDRESSES.items():
            columns = sa.Column("name", sa.String(256)), sa.Column(column, sa.String(500))
            table = sa.Table(name, sa.MetaData(), *columns)
            table.create(connection)
            connection.execute(sa.insert(table), [{"name": EXPERIMENT, column: value} for value in written[name]])
    moved = Settings(home=tmp_path / "moved", mlflow_url=url.render_as_string(hide_password=False))

    rewrite_mlflow_addresses(moved, url, EXPERIMENT)

    here = mlflow_artifacts_address(moved)
    own = [here, f"{here}/a/artifacts", f"{here}/models/m/artifacts"]
    assert sorted(addresses(moved)) == sorted([*own, f"{old}-of-somebody-else/b/artifacts"])
