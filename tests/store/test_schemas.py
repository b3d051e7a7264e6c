"""A database that another version of its library made: a sentence with the command, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from bcd.bundle.rows import read_registered_versions
from bcd.cli.doctor import examine_machine
from bcd.errors import BcdError
from bcd.search.storage import make_storage
from bcd.settings import Settings
from bcd.store.schemas import Library, prefect_schema_database, require_schema, sync_url
from bcd.store.store import open_store
from bcd.tracking.store import own_mlflow_store

NEWER = "ffffffffffff"
OLDER = {"mlflow": "451aebb31d03", "optuna": "v2.6.0.a", "prefect": "d76326ed0d06"}


def make_database(url: str, revision: str) -> None:
    """Makes a database that says nothing but its revision."""
    made = sync_url(url)
    if made.get_backend_name() == "sqlite":
        Path(made.database or "").parent.mkdir(parents=True, exist_ok=True)
    with sa.create_engine(made).begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(sa.text(f"INSERT INTO alembic_version VALUES ('{revision}')"))


def address(settings: Settings, library: Library) -> str:
    of = {"mlflow": f"sqlite:///{settings.mlflow / 'mlflow.db'}", "optuna": settings.study_storage}
    return of.get(library) or prefect_schema_database(settings)


@pytest.fixture(autouse=True)
def prefect_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(settings.prefect))


@pytest.mark.parametrize("library", ["mlflow", "optuna", "prefect"])
def test_a_newer_database_names_what_to_install(settings: Settings, library: Library) -> None:
    url = address(settings, library)
    make_database(url, NEWER)
    with pytest.raises(BcdError) as told:
        require_schema(library, url)
    assert NEWER in told.value.what
    assert f"--upgrade {library}`" in told.value.fix


@pytest.mark.parametrize("library", ["mlflow", "optuna", "prefect"])
def test_an_older_database_names_the_command_that_upgrades_it(settings: Settings, library: Library) -> None:
    url = address(settings, library)
    make_database(url, OLDER[library])
    with pytest.raises(BcdError, match=OLDER[library]) as told:
        require_schema(library, url)
    assert "`bcd upgrade`" in told.value.fix


def test_a_database_that_is_not_there_yet_is_fine_and_is_not_made(settings: Settings) -> None:
    for library in ("mlflow", "optuna", "prefect"):
        require_schema(library, address(settings, library))
    assert not settings.home.exists()


def test_on_postgresql_too_and_its_password_is_not_told(postgres) -> None:
    url = sa.make_url(postgres.url(postgres.make_database())).set(password="a-password")
    make_database(url.render_as_string(hide_password=False), NEWER)
    with pytest.raises(BcdError) as told:
        require_schema("prefect", url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False))
    assert NEWER in told.value.what
    assert "a-password" not in told.value.what


def test_mlflow_and_optuna_are_asked_before_their_libraries_open_a_database(settings: Settings) -> None:
    for library in ("mlflow", "optuna"):
        make_database(address(settings, library), NEWER)
    for opens in (own_mlflow_store, read_registered_versions, make_storage):
        with pytest.raises(BcdError, match=NEWER):
            opens(settings)


def test_prefect_is_asked_before_a_flow_starts_a_server(settings: Settings) -> None:
    make_database(address(settings, "prefect"), NEWER)
    environment = {**os.environ, "BCD_HOME": str(settings.home)}
    done = subprocess.run(
        [sys.executable, "-m", "bcd.cli.main", "retrain"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "--upgrade prefect" in done.stderr


def test_the_doctor_tells_of_every_database(settings: Settings) -> None:
    for library in ("mlflow", "optuna", "prefect"):
        make_database(address(settings, library), NEWER)
    store = open_store(settings)
    with store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    faults = " ".join(found.what + found.fix for found in examine_machine(settings) if found.level == "fault")
    for name in (
        "mlflow.db",
        "optuna.db",
        "prefect.db",
        "The catalog has schema 9999",
        "pip install --upgrade optuna",
    ):
        assert name in faults
