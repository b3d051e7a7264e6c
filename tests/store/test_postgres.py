"""What only a server does: it goes away and comes back, it is elsewhere, it needs a driver."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bcd.errors import BcdError, UnavailableError
from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.catalog import retry_while_database_away
from bcd.store.store import Store, open_store

ROW = {"protocol": "p", "hospital": "h", "patient": "1", "split": "val"}


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str) -> Settings:
    return load_settings(tmp_path / "home").model_copy(update={"catalog_url": postgres_url})


@pytest.fixture
def stopped(postgres, store: Store) -> Iterator[None]:
    """The server is away, and back again after the test."""
    with store.read() as connection:  # so that the pool holds a connection that is about to break
        connection.execute(sa.text("SELECT 1"))
    postgres.stop()
    yield
    postgres.start()


def test_an_address_needs_no_driver_in_it(store: Store) -> None:
    assert store.settings.catalog_url.startswith("postgresql://")
    assert store.engine.dialect.driver == "psycopg"
    named = store.settings.model_copy(
        update={"catalog_url": store.settings.catalog_url.replace("sql://", "sql+psycopg2://")}
    )
    assert open_store(named).engine.dialect.driver == "psycopg"


def test_a_database_that_comes_back_is_waited_for(postgres, store: Store, stopped: None) -> None:
    back = threading.Timer(1.5, postgres.start)
    back.start()
    retry_while_database_away(lambda: _insert(store))
    back.join()
    with store.read() as connection:
        assert connection.execute(sa.select(tables.splits)).mappings().all() == [ROW]


def test_a_database_that_stays_away_is_told(store: Store, stopped: None) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"\b1 s\b"):
        retry_while_database_away(lambda: _insert(store), seconds=1)
    assert time.monotonic() - started < 5


def test_opening_waits_for_a_database_that_comes_back(postgres, settings: Settings, stopped: None) -> None:
    back = threading.Timer(1.5, postgres.start)
    back.start()
    open_store(settings).engine.dispose()
    back.join()


def test_a_database_that_goes_away_in_a_transaction_undoes_it(postgres, store: Store) -> None:
    attempts = []

    def insert() -> None:
        attempts.append(1)
        with store.write() as connection:
            connection.execute(sa.insert(tables.splits), [ROW])
            if len(attempts) == 1:
                postgres.stop()
                postgres.start()

    retry_while_database_away(insert)
    assert len(attempts) == 2
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tables.splits)) == 1


def test_a_lock_that_was_lost_is_noticed_before_anything_is_written(postgres, store: Store) -> None:
    attempts = []

    def settle() -> None:
        attempts.append(1)
        with store.lock("door") as confirm:
            if len(attempts) == 1:
                postgres.stop()
                postgres.start()
            with store.write() as connection:
                confirm()
                connection.execute(sa.insert(tables.splits), [ROW])

    retry_while_database_away(settle)
    assert len(attempts) == 2


def test_a_wrong_database_is_told_at_once(settings: Settings, postgres_url: str) -> None:
    name = sa.make_url(postgres_url).database
    wrong = settings.model_copy(update={"catalog_url": postgres_url.replace(f"/{name}?", "/nowhere?")})
    started = time.monotonic()
    with pytest.raises(BcdError, match='"nowhere"'):
        open_store(wrong)
    assert time.monotonic() - started < 5


def test_a_missing_driver_is_answered_with_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BcdError, match=r"psycopg.*'bcd\[postgres\]'"):
        open_store(settings)


def _insert(store: Store) -> None:
    with store.write() as connection:
        connection.execute(sa.insert(tables.splits), [ROW])
