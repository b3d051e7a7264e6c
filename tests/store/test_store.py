from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from bcd.errors import BcdError, UnavailableError
from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.catalog import name_catalog, retry_while_database_away
from bcd.store.store import SCHEMA, Store, open_store


def test_migrations_make_exactly_the_tables_that_the_code_knows(store: Store) -> None:
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_code_works_with_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "bcd.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


def test_opening_makes_the_home_and_opening_again_keeps_what_is_there(settings: Settings) -> None:
    with open_store(settings).write() as connection:
        connection.execute(sa.insert(tables.splits).values(protocol="p", hospital="h", patient="1", split="val"))
    with open_store(settings).engine.connect() as connection:
        assert connection.scalar(sa.select(tables.splits.c.split)) == "val"


def test_a_catalog_of_a_newer_bcd_is_refused(store: Store) -> None:
    with store.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BcdError, match="schema 9999"):
        open_store(store.settings)


def test_a_transaction_happens_whole_or_not_at_all(store: Store) -> None:
    row = {"protocol": "p", "hospital": "h", "patient": "1", "split": "val"}

    def write_the_second_time_in_vain() -> None:
        with store.write() as connection:
            connection.execute(sa.insert(tables.splits), [row])
            connection.execute(sa.insert(tables.splits), [row])

    with pytest.raises(sa.exc.IntegrityError):
        write_the_second_time_in_vain()
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.splits)) == 0


def test_sqlite_keeps_a_write_ahead_log_and_checks_references(tmp_path: Path) -> None:
    with open_store(load_settings(tmp_path / "home")).engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_home_that_is_a_file_is_a_sentence_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(UnavailableError, match="BCD_HOME"):
        open_store(load_settings(tmp_path / "home"))


def test_a_password_is_never_part_of_a_message() -> None:
    assert "secret" not in name_catalog("postgresql://bcd:secret@db/bcd")


def test_writers_take_turns_and_each_sees_what_the_last_one_wrote(store: Store) -> None:
    def count_up(_: int) -> None:
        with store.write() as connection:
            known = connection.scalar(sa.select(sa.func.count()).select_from(tables.splits))
            time.sleep(0.01)
            row = {"protocol": "p", "hospital": "h", "patient": f"{known}", "split": "val"}
            connection.execute(sa.insert(tables.splits).values(row))  # the same number twice would be refused

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count_up, range(16)))
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.splits)) == 16


def test_a_lock_lets_one_at_a_time_in_and_another_name_is_another_lock(store: Store) -> None:
    inside: list[int] = []

    def enter(number: int) -> None:
        with store.lock("door") as confirm, store.lock(f"door {number}"):
            inside.append(number)
            time.sleep(0.01)
            confirm()
            assert inside[-1] == number
            inside.append(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(8)))
    assert inside[::2] == inside[1::2]


def test_a_process_that_dies_in_a_lock_lets_the_next_one_in(store: Store) -> None:
    script = """
import os, sys, time
from bcd.settings import load_settings
from bcd.store.store import open_store
with open_store(load_settings()).lock("door"):
    print("inside", flush=True)
    time.sleep(600)
"""
    environment = {**os.environ, "BCD_HOME": str(store.settings.home), "BCD_CATALOG_URL": store.settings.catalog_url}
    holder = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "inside\n"
    entered = threading.Event()

    def enter() -> None:
        with store.lock("door"):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(0.5)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert entered.wait(10)
    waiting.join()


def test_a_fault_of_a_statement_is_not_waited_for(store: Store) -> None:
    def ask() -> None:
        with store.read() as connection:
            connection.execute(sa.text("SELECT * FROM no_such_table"))

    started = time.monotonic()
    with pytest.raises(sa.exc.DBAPIError, match="no_such_table"):
        retry_while_database_away(ask)
    assert time.monotonic() - started < 5


def test_other_databases_are_refused(tmp_path: Path) -> None:
    settings = load_settings(tmp_path / "home").model_copy(update={"catalog_url": "mysql://bcd:secret@db/bcd"})
    with pytest.raises(BcdError, match=r"mysql://bcd:\*\*\*@db/bcd .*postgresql://"):
        open_store(settings)
