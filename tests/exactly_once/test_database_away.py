"""The database is killed during an admission, or somebody else keeps it locked: it is waited for, or told."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from delivering import patch_files, picture, write_zip
from leftovers import State, differences, opened, read_state

from bcd.admission import admit as engine
from bcd.admission import settle as settling
from bcd.admission.admit import Admission, admit
from bcd.errors import UnavailableError
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store import catalog as database_module
from bcd.store.catalog import retry_while_database_away
from bcd.store.store import Store

EAST = Hospital("east")

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def _deliver(settings: Settings) -> Path:
    files = {**patch_files("new", range(100, 120)), "new_idx5_x951_y1_class0.png": picture(9, width=42)}
    return write_zip(settings.inbox / EAST / "delivery.zip", files)


@pytest.fixture
def undisturbed(copy_home: Callable[[str], Settings]) -> State:
    settings = copy_home("undisturbed")
    path = _deliver(settings)
    with opened(settings) as store:
        admit(store, path, EAST)
    return read_state(settings)


@pytest.fixture
def home(copy_home: Callable[[str], Settings]) -> Settings:
    settings = copy_home("home")
    _deliver(settings)
    return settings


def _admit(store: Store) -> Admission:
    return admit(store, store.settings.inbox / EAST / "delivery.zip", EAST)


class Outage:
    """Kills the server when it is called first, and starts it again after some seconds."""

    def __init__(self, postgres: Any, seconds: float | None) -> None:
        self._postgres, self._seconds = postgres, seconds
        self._back: threading.Timer | None = None
        self.happened = False

    def __call__(self) -> None:
        if not self.happened:
            self.happened = True
            self._postgres.kill()
            if self._seconds is not None:
                self._back = threading.Timer(self._seconds, self._postgres.start)
                self._back.start()

    def end(self) -> None:
        """Waits until the server is back."""
        if self._back is not None:
            self._back.join()
        self._postgres.start()

    def begins_with(self, monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
        """Begins when a function is called."""
        function = getattr(where, name)

        def run(*args: Any, **kwargs: Any) -> Any:
            self()
            return function(*args, **kwargs)

        monkeypatch.setattr(where, name, run)

    def begins_at(self, store: Store, statement: str) -> None:
        """Begins before a statement that begins so, or a commit after one that did."""
        reached = []

        def hear(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
            if text.startswith(statement.removesuffix(" COMMIT")):
                reached.append(1)
                if not statement.endswith(" COMMIT"):
                    self()

        sa.event.listen(store.engine, "before_cursor_execute", hear)
        sa.event.listen(store.engine, "commit", lambda _: self() if reached else None)


@pytest.fixture
def outage(postgres: Any, full_size: bool) -> Iterator[Outage]:
    one = Outage(postgres, 10.0 if full_size else 0.5)
    yield one
    one.end()


MOMENTS: dict[str, Any] = {
    "it begins": (engine, "find_declared_hospital"),
    "files are read": (engine, "examine_files"),
    "the lock is held": (settling, "clear_unsettled_batches"),
    "the batch is written": (settling, "write_batch"),
    "all files are written": (settling, "record_delivery"),
    "it is entered": "INSERT INTO refusals",
    "it is committed": "INSERT INTO refusals COMMIT",
    "it leaves the inbox": (engine, "leave_inbox"),
}


@on_postgresql
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_database_that_goes_away_is_waited_for(
    *, home: Settings, store: Store, undisturbed: State, outage: Outage, moment: str, full_size: bool, monkeypatch
) -> None:
    if not full_size and moment in {"files are read", "the batch is written", "it is committed"}:
        pytest.skip("at full size only: make exactly-once")
    where = MOMENTS[moment]
    if isinstance(where, str):
        outage.begins_at(store, where)
    else:
        outage.begins_with(monkeypatch, *where)
    assert _admit(store).admitted == 20
    assert outage.happened
    outage.end()
    assert differences(read_state(home), undisturbed) == []


@on_postgresql
def test_a_delivery_that_is_to_be_deleted_waits_for_the_database_too(
    *, home: Settings, store: Store, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.begins_with(monkeypatch, engine, "leave_inbox")
    _admit(replace(store, settings=home.model_copy(update={"after_admission": "delete"})))
    assert outage.happened
    assert not list((home.inbox / EAST).iterdir())


@on_postgresql
@pytest.mark.parametrize("moment", ["the lock is held", "it is entered"])
def test_a_database_that_stays_away_is_told_and_the_same_command_completes(
    *, home: Settings, store: Store, undisturbed: State, postgres: Any, moment: str, monkeypatch
) -> None:
    outage = Outage(postgres, None)
    where = MOMENTS[moment]
    if isinstance(where, str):
        outage.begins_at(store, where)
    else:
        outage.begins_with(monkeypatch, *where)
    monkeypatch.setattr(settling, "retry_while_database_away", partial(retry_while_database_away, seconds=0.5))
    with pytest.raises(UnavailableError):
        _admit(store)
    outage.end()
    _admit(store)
    assert differences(read_state(home), undisturbed) == []


@on_postgresql
def test_an_admission_whose_lock_was_lost_in_its_transaction_is_not_cleared_away(
    *, home: Settings, store: Store, copy_home: Callable[[str], Settings], tmp_path: Path
) -> None:
    """Regression: whoever had the lock next removed the batch that was just being committed."""
    other = write_zip(tmp_path / "other.zip", patch_files("new", range(100, 130)))
    others: list[threading.Thread] = []

    def admit_other() -> None:
        with opened(home) as another:
            admit(another, other, EAST)

    def lose_lock(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
        if text.startswith("INSERT INTO refusals") and not others:
            with store.read() as connection:
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database"
                        " WHERE locktype = 'advisory' AND datname = current_database() AND pid NOT IN"
                        " (SELECT pid FROM pg_locks WHERE locktype = 'transactionid')"
                    )
                )
            others.append(threading.Thread(target=admit_other))
            others[0].start()
            others[0].join(1.5)

    sa.event.listen(store.engine, "before_cursor_execute", lose_lock)
    assert _admit(store).admitted == 20
    others[0].join(60)
    assert not others[0].is_alive()
    serial = copy_home("serial")
    path = _deliver(serial)
    with opened(serial) as one:
        admit(one, path, EAST)
        admit(one, other, EAST)
    assert differences(read_state(home), read_state(serial)) == []


@pytest.fixture
def locked(home: Settings) -> Iterator[sqlite3.Connection]:
    """Another program that has begun to write to the catalog."""
    connection = sqlite3.connect(home.home / "catalog.db", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


@on_sqlite
def test_a_catalog_that_another_program_locks_is_waited_for(
    home: Settings, store: Store, undisturbed: State, locked: sqlite3.Connection
) -> None:
    done = threading.Timer(2.0, locked.rollback)
    done.start()
    _admit(store)
    done.join()
    assert differences(read_state(home), undisturbed) == []


@on_sqlite
def test_a_catalog_that_stays_locked_is_told_and_the_same_command_completes(
    home: Settings, undisturbed: State, monkeypatch: pytest.MonkeyPatch, locked: sqlite3.Connection
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)
    before = read_state(home)
    with opened(home) as store:
        with pytest.raises(UnavailableError, match=r"\(database is locked\)"):
            _admit(store)
        assert differences(read_state(home), before) == []
        locked.rollback()
        _admit(store)
    assert differences(read_state(home), undisturbed) == []
