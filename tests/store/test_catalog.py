from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from bcd.errors import BcdError
from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.catalog import SCHEMA, Catalog, engine_name, open_catalog


def test_migrations_make_exactly_the_tables_that_the_code_knows(catalog: Catalog) -> None:
    with catalog.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_code_works_with_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "bcd.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


def test_opening_makes_the_home_and_opening_again_keeps_what_is_there(settings: Settings) -> None:
    with open_catalog(settings).write() as connection:
        connection.execute(sa.insert(tables.splits).values(protocol="p", hospital="h", patient="1", split="val"))
    with open_catalog(settings).engine.connect() as connection:
        assert connection.scalar(sa.select(tables.splits.c.split)) == "val"


def test_several_processes_may_open_a_new_catalog_at_once(tmp_path: Path) -> None:
    script = (
        "from bcd.settings import load_settings; from bcd.store.catalog import open_catalog as o; o(load_settings())"
    )
    environment = {**os.environ, "BCD_HOME": str(tmp_path / "home")}
    openers = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(3)]
    assert [opener.wait(timeout=120) for opener in openers] == [0, 0, 0]


def test_a_catalog_of_a_newer_bcd_is_refused(settings: Settings, catalog: Catalog) -> None:
    with catalog.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BcdError, match="schema 9999"):
        open_catalog(settings)


def test_a_transaction_happens_whole_or_not_at_all(catalog: Catalog) -> None:
    row = {"protocol": "p", "hospital": "h", "patient": "1", "split": "val"}

    def write_the_second_time_in_vain() -> None:
        with catalog.write() as connection:
            connection.execute(sa.insert(tables.splits), [row])
            connection.execute(sa.insert(tables.splits), [row])

    with pytest.raises(sa.exc.IntegrityError):
        write_the_second_time_in_vain()
    with catalog.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.splits)) == 0


def test_sqlite_keeps_a_write_ahead_log_and_checks_references(catalog: Catalog) -> None:
    with catalog.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_home_that_is_a_file_is_a_sentence_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(BcdError, match="cannot be opened"):
        open_catalog(load_settings(tmp_path / "home"))


def test_a_password_is_never_part_of_a_message() -> None:
    assert "secret" not in engine_name("postgresql://bcd:secret@db/bcd")
