from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from stored import new_store

from bcd.admission import admit as engine
from bcd.admission import settle as settling
from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.delivery_queries import find_stored_delivery, list_batches
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EAST = Hospital("east")


class KilledError(BaseException):
    """Stands for the end of the process."""


def _kill(*_args: Any, **_kwargs: Any) -> None:
    raise KilledError


def _kill_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def run_and_die(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)
        raise KilledError

    return run_and_die


def _state(store: Store) -> dict[str, object]:
    """Reads all that admission leaves: rows without their times, and files with their bytes."""
    state: dict[str, object] = {}
    with store.read() as connection:
        for table in tables.metadata.sorted_tables:
            columns = [column for column in table.c if column.name != "at" and not column.name.endswith("_at")]
            state[table.name] = sorted(map(repr, connection.execute(sa.select(*columns))))
    for root in (store.settings.home / "store", store.settings.received, store.settings.inbox):
        for path in root.rglob("*"):
            if path.is_file():
                state[str(path.relative_to(store.settings.home))] = path.read_bytes()
    return state


@pytest.fixture
def files(patch_files, picture) -> dict[str, bytes]:
    return {**patch_files("8867", "8868"), "8867/1/8867_idx5_x1001_y1_class1.png": picture(90, width=42)}


def _deliver(settings: Settings, files: dict[str, bytes], as_zip: Callable[..., Path]) -> Path:
    return as_zip(files, settings.inbox / EAST / "delivery.zip")


@pytest.mark.parametrize(
    ("where", "moment", "replacement"),
    [
        (engine, "examine_files", _kill_after(engine.examine_files)),  # type: ignore[attr-defined]
        (settling, "write_batch", _kill),
        (settling, "write_batch", _kill_after(settling.write_batch)),  # type: ignore[attr-defined]  # renamed, not in the catalog
        (settling, "keep_refused", _kill_after(settling.keep_refused)),  # type: ignore[attr-defined]  # all files there, not in the catalog
        (settling, "record_delivery", _kill_after(settling.record_delivery)),  # type: ignore[attr-defined]  # committed, still in the inbox
        (engine, "leave_inbox", _kill_after(engine.leave_inbox)),  # type: ignore[attr-defined]
    ],
)
def test_killed_and_run_again_ends_as_if_undisturbed(
    *,
    store: Store,
    files: dict[str, bytes],
    as_zip,
    monkeypatch: pytest.MonkeyPatch,
    where: ModuleType,
    moment: str,
    replacement: Callable[..., Any],
) -> None:
    undisturbed = load_settings(store.settings.home.with_name("undisturbed"))
    expected_store = new_store(undisturbed)
    for hospital in ("east", "west"):
        declare_hospital(expected_store, hospital, "pseudonyms", SignOff("test", "test"))
    expected = admit(expected_store, _deliver(undisturbed, files, as_zip), EAST)

    path = _deliver(store.settings, files, as_zip)
    with monkeypatch.context() as patch:
        patch.setattr(where, moment, replacement)
        with pytest.raises(KilledError):
            admit(store, path, EAST)
    if path.exists():
        again = admit(store, path, EAST)
        assert (again.batch, again.admitted, again.refused) == (expected.batch, expected.admitted, expected.refused)

    assert _state(store) == _state(expected_store)


def test_killed_in_the_middle_of_the_transaction_leaves_none_of_it(
    store: Store, files: dict[str, bytes], as_zip
) -> None:
    def die_at_the_refusals(_connection, _cursor, statement: str, *_rest: object) -> None:
        if statement.startswith("INSERT INTO refusals"):
            raise KilledError

    path = as_zip(files)
    sa.event.listen(store.engine, "before_cursor_execute", die_at_the_refusals)
    with pytest.raises(KilledError):
        admit(store, path, EAST)
    sa.event.remove(store.engine, "before_cursor_execute", die_at_the_refusals)
    with store.read() as connection:
        for table in (tables.deliveries, tables.batches, tables.patients, tables.patches):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0
    assert admit(store, path, EAST).admitted == 8


def test_an_admission_killed_before_another_one_that_overlaps_ends_as_in_that_order(
    *, store: Store, patch_files, as_zip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed = as_zip(patch_files("8867", "8868"), tmp_path / "killed.zip")
    with monkeypatch.context() as patch:
        patch.setattr(settling, "record_delivery", _kill)
        with pytest.raises(KilledError):
            admit(store, killed, EAST)
    admit(store, as_zip(patch_files("8867"), tmp_path / "other.zip"), EAST)
    again = admit(store, killed, EAST)
    assert (again.admitted, again.refused) == (4, {"already-admitted": 4})
    known = {batch.batch for batch in list_batches(store)}
    assert {path.name for path in store.settings.batches.iterdir()} == known


def test_an_admitted_delivery_leaves_the_inbox_however_often_it_comes(
    store: Store, files: dict[str, bytes], as_zip, as_folder
) -> None:
    for _ in range(3):
        admit(store, _deliver(store.settings, files, as_zip), EAST)
        assert not list((store.settings.inbox / EAST).iterdir())
    for _ in range(3):
        admit(store, as_folder(files, store.settings.inbox / EAST / "folder"), EAST)
        assert not list((store.settings.inbox / EAST).iterdir())
    assert len(list((store.settings.received / EAST).iterdir())) == 4


def test_a_delivery_from_elsewhere_stays_where_it_is(store: Store, files: dict[str, bytes], as_zip) -> None:
    path = as_zip(files)
    admit(store, path, EAST)
    assert path.exists()


def test_a_delivery_is_known_by_hospital_names_and_bytes(store: Store, files: dict[str, bytes], as_zip) -> None:
    admit(store, as_zip(files), EAST)
    with store.read() as connection:
        identity = connection.scalar(sa.select(tables.deliveries.c.id))
    assert identity is not None
    record = find_stored_delivery(store, identity)
    assert record is not None
    assert record.refused == {"size": 1}
    assert find_stored_delivery(store, "another") is None
