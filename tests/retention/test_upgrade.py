"""A home of earlier versions becomes one of the installed ones, whole; what it was is kept."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from bcd.cli.doctor import examine_machine
from bcd.cli.main import main
from bcd.errors import BcdError, UnavailableError
from bcd.retention import upgrade as module
from bcd.retention.upgrade import list_databases, upgrade_home
from bcd.search.storage import make_storage
from bcd.settings import Settings, load_settings
from bcd.store.catalog import connect
from bcd.store.schemas import Schema
from bcd.store.store import SCHEMA, Store, open_store
from bcd.tracking.store import own_mlflow_store

MakeOnce = Callable[[str, Callable[[Path], object]], Path]
OLDER_CATALOG = "0009"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with nothing in it."""
    monkeypatch.setenv("BCD_HOME", str(tmp_path / "home"))
    return load_settings()


@pytest.fixture(scope="session")
def older_mlflow(make_once: MakeOnce) -> Path:
    """A database of MLflow, one revision behind."""

    def fill(folder: Path) -> None:
        from mlflow.store.db.utils import InitialBase, _get_alembic_config

        url = f"sqlite:///{folder / 'mlflow.db'}"
        engine = sa.create_engine(url)
        InitialBase.metadata.create_all(engine)
        config = _get_alembic_config(url)
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, _before_the_last(config))
        engine.dispose()

    return make_once("older-mlflow", fill) / "mlflow.db"


@pytest.fixture(scope="session")
def older_prefect(make_once: MakeOnce, prefect_database: Path) -> Path:
    """A database of Prefect, one revision behind."""

    def fill(folder: Path) -> None:
        shutil.copy(prefect_database, folder / "prefect.db")
        environment = os.environ | {"PREFECT_HOME": str(folder)}
        run = [sys.executable, "-m", "prefect", "server", "database", "downgrade", "--yes", "--revision=-1"]
        subprocess.run(run, env=environment, check=True, capture_output=True)

    return make_once("older-prefect", fill) / "prefect.db"


def _before_the_last(config: Config) -> str:
    scripts = ScriptDirectory.from_config(config)
    return str(scripts.get_revision("head").down_revision)


@pytest.fixture
def old(settings: Settings, older_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose catalog, MLflow and Optuna are a revision behind; Prefect has no database yet."""
    monkeypatch.setenv("PREFECT_HOME", str(settings.prefect))
    settings.mlflow.mkdir(parents=True)
    shutil.copy(older_mlflow, settings.mlflow)
    config = Config()
    config.set_main_option("script_location", "bcd.store:migrations")
    with Store(settings, connect(settings.catalog)) as store, store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER_CATALOG)
    import optuna

    storage = optuna.storages.RDBStorage(make_storage(settings))
    optuna.create_study(storage=storage, study_name="kept")
    config = storage._version_manager._create_alembic_config()
    command.stamp(config, _before_the_last(config))  # the last one adds an index
    storage.engine.dispose()
    return settings


def _revisions(settings: Settings) -> dict[str, Schema]:
    return {each.name: each.schema for each in list_databases(settings)}


def test_all_four_databases_are_brought_up_to_date_and_kept_as_they_were(old: Settings, older_prefect: Path) -> None:
    old.prefect.mkdir()
    shutil.copy(older_prefect, old.prefect)
    before = _revisions(old)
    assert [name for name, schema in before.items() if schema.is_older] == ["catalog", "mlflow", "optuna", "prefect"]
    upgraded = upgrade_home(old)
    assert [each.name for each in upgraded.databases] == list(before)
    assert _revisions(old) == {name: Schema(each.newest, each.newest) for name, each in before.items()}
    assert before["catalog"] == Schema(OLDER_CATALOG, SCHEMA)
    for name, schema in before.items():
        assert _revision(upgraded.kept / f"{name}.db") == schema.found
    # What uses them works, and finds what they held.
    open_store(old)
    own_mlflow_store(old)
    import optuna

    assert optuna.get_all_study_names(make_storage(old)) == ["kept"]
    assert upgrade_home(old).databases == []
    assert len(list((old.home / "upgrades").iterdir())) == 1


def _revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


class _Killed(BaseException):
    """What a test kills the upgrade with."""


@pytest.mark.parametrize("moment", ["copied", "half copied", "half migrated", "migrated", "all but said"])
def test_killed_at_any_moment_and_run_again_it_ends_the_same(
    old: Settings, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _revisions(old)

    def kill(*_: object, **__: object) -> None:
        raise _Killed

    def half_migrate(url: str) -> None:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("CREATE TABLE _alembic_tmp_runs (x)")
            connection.commit()
        raise _Killed

    def copy_the_first(
        source: Path, target: Path, copy: Callable[[Path, Path], None] = module._copy_database
    ) -> None:
        if source == old.home / "catalog.db":
            copy(source, target)
        else:
            kill()

    migrations = dict(module._MIGRATE)
    with monkeypatch.context() as patch:
        if moment == "half copied":
            patch.setattr(module, "_copy_database", copy_the_first)
        elif moment == "copied":
            patch.setattr(module, "_migrate", kill)
        elif moment == "all but said":
            patch.setattr("bcd.retention.upgrade.json.dumps", kill)
        else:
            fault = {"mlflow": half_migrate} if moment == "half migrated" else {"optuna": kill}
            patch.setattr(module, "_MIGRATE", migrations | fault)
        with pytest.raises(_Killed):
            upgrade_home(old)
    upgraded = upgrade_home(old)
    assert not any(schema.is_older for schema in _revisions(old).values())
    [kept] = (old.home / "upgrades").iterdir()
    assert upgraded.kept == kept
    assert {name: _revision(kept / f"{name}.db") for name in ("catalog", "mlflow", "optuna")} == {
        name: before[name].found for name in ("catalog", "mlflow", "optuna")
    }
    with closing(sqlite3.connect(old.mlflow / "mlflow.db")) as connection:
        assert not connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '_alembic_tmp%'").fetchall()
    assert not list(old.home.rglob(".partial-*"))


def test_what_is_older_names_the_command_and_is_left_as_it_is(
    old: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _revisions(old)
    for opens in (open_store, own_mlflow_store, make_storage):
        with pytest.raises(BcdError) as told:
            opens(old)
        assert "`bcd upgrade`" in told.value.fix
        with closing(sqlite3.connect(old.home / "catalog.db", timeout=0)) as alone:  # who was refused has left
            assert alone.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    faults = [finding.fix for finding in examine_machine(old) if finding.level == "fault"]
    assert sum("`bcd upgrade`" in fix for fix in faults) >= 3
    for arguments, code in ((["status"], 2), (["upgrade"], 0), (["status"], 0)):
        monkeypatch.setattr(sys, "argv", ["bcd", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert int(ended.value.code or 0) == code
        if arguments == ["upgrade"]:
            said = capsys.readouterr().out
            assert all(str(schema.newest) in said for name, schema in before.items() if schema.is_older)


def test_a_newer_database_is_refused_before_anything_is_changed(old: Settings) -> None:
    with closing(sqlite3.connect(old.home / "optuna.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        connection.commit()
    with pytest.raises(BcdError, match=r"v99\.0\.0\.a"):
        upgrade_home(old)
    assert _revision(old.home / "catalog.db") == OLDER_CATALOG
    assert not (old.home / "upgrades").exists()


def test_a_database_that_somebody_has_open_is_not_upgraded(old: Settings) -> None:
    with open_database(old.home / "optuna.db") as connection:
        connection.execute("SELECT * FROM studies").fetchall()
        with pytest.raises(UnavailableError):
            upgrade_home(old)
    assert _revision(old.home / "catalog.db") == OLDER_CATALOG
    assert upgrade_home(old).kept


def open_database(file: Path) -> closing[sqlite3.Connection]:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    return closing(connection)


@pytest.fixture
def on_postgres(postgres, old: Settings) -> Iterator[Settings]:
    """The home, its catalog on PostgreSQL and a revision behind."""
    name = postgres.make_database()
    settings = old.model_copy(update={"catalog_url": postgres.url(name)})
    config = Config()
    config.set_main_option("script_location", "bcd.store:migrations")
    with Store(settings, connect(settings.catalog)) as store, store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER_CATALOG)
    yield settings
    postgres.drop_database(name)


def test_what_is_on_postgresql_is_upgraded_once_somebody_says_that_it_is_copied(on_postgres: Settings) -> None:
    with pytest.raises(BcdError, match="catalog") as told:
        upgrade_home(on_postgres)
    assert "pg_dump" in told.value.fix
    upgraded = upgrade_home(on_postgres, dumped=True)
    assert _revisions(on_postgres)["catalog"] == Schema(SCHEMA, SCHEMA)
    assert sorted(each.name for each in upgraded.kept.glob("*.db")) == ["mlflow.db", "optuna.db"]
