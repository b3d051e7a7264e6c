from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

from bcd.admission import admit as engine
from bcd.admission import settle as settling
from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.batches import list_batches
from bcd.store.catalog import Catalog, open_catalog
from bcd.store.deliveries import find_delivery
from bcd.store.hospitals import declare_hospital

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


def _state(settings: Settings, catalog: Catalog) -> dict[str, object]:
    """Reads all that admission leaves: rows without their times, and files with their bytes."""
    state: dict[str, object] = {}
    with catalog.engine.connect() as connection:
        for table in tables.metadata.sorted_tables:
            columns = [column for column in table.c if not column.name.endswith("_at")]
            state[table.name] = sorted(map(repr, connection.execute(sa.select(*columns))))
    for root in (settings.home / "store", settings.received, settings.inbox):
        for path in root.rglob("*"):
            if path.is_file():
                state[str(path.relative_to(settings.home))] = path.read_bytes()
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
    settings: Settings,
    catalog: Catalog,
    files: dict[str, bytes],
    as_zip,
    monkeypatch: pytest.MonkeyPatch,
    where: ModuleType,
    moment: str,
    replacement: Callable[..., Any],
) -> None:
    undisturbed = load_settings(settings.home.with_name("undisturbed"))
    expected_catalog = open_catalog(undisturbed)
    for hospital in ("east", "west"):
        declare_hospital(undisturbed, expected_catalog, hospital, "pseudonyms", author="test")
    expected = admit(undisturbed, expected_catalog, _deliver(undisturbed, files, as_zip), EAST)

    path = _deliver(settings, files, as_zip)
    with monkeypatch.context() as patch:
        patch.setattr(where, moment, replacement)
        with pytest.raises(KilledError):
            admit(settings, catalog, path, EAST)
    if path.exists():
        again = admit(settings, catalog, path, EAST)
        assert (again.batch, again.admitted, again.refused) == (expected.batch, expected.admitted, expected.refused)

    assert _state(settings, catalog) == _state(undisturbed, expected_catalog)


def test_killed_in_the_middle_of_the_transaction_leaves_none_of_it(
    settings: Settings, catalog: Catalog, files: dict[str, bytes], as_zip
) -> None:
    def die_at_the_refusals(_connection, _cursor, statement: str, *_rest: object) -> None:
        if statement.startswith("INSERT INTO refusals"):
            raise KilledError

    path = as_zip(files)
    sa.event.listen(catalog.engine, "before_cursor_execute", die_at_the_refusals)
    with pytest.raises(KilledError):
        admit(settings, catalog, path, EAST)
    sa.event.remove(catalog.engine, "before_cursor_execute", die_at_the_refusals)
    with catalog.engine.connect() as connection:
        for table in (tables.deliveries, tables.batches, tables.patients, tables.patches):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0
    assert admit(settings, catalog, path, EAST).admitted == 8


def test_an_admission_killed_before_another_one_that_overlaps_ends_as_in_that_order(
    *, settings: Settings, catalog: Catalog, patch_files, as_zip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed = as_zip(patch_files("8867", "8868"), tmp_path / "killed.zip")
    with monkeypatch.context() as patch:
        patch.setattr(settling, "record_delivery", _kill)
        with pytest.raises(KilledError):
            admit(settings, catalog, killed, EAST)
    admit(settings, catalog, as_zip(patch_files("8867"), tmp_path / "other.zip"), EAST)
    again = admit(settings, catalog, killed, EAST)
    assert (again.admitted, again.refused) == (4, {"already-admitted": 4})
    known = {batch.id for batch in list_batches(catalog)}
    assert {path.name for path in settings.batches.iterdir()} == known


def test_an_admitted_delivery_leaves_the_inbox_however_often_it_comes(
    settings: Settings, catalog: Catalog, files: dict[str, bytes], as_zip, as_folder
) -> None:
    for _ in range(3):
        admit(settings, catalog, _deliver(settings, files, as_zip), EAST)
        assert not list((settings.inbox / EAST).iterdir())
    for _ in range(3):
        admit(settings, catalog, as_folder(files, settings.inbox / EAST / "folder"), EAST)
        assert not list((settings.inbox / EAST).iterdir())
    assert len(list((settings.received / EAST).iterdir())) == 4


def test_a_delivery_from_elsewhere_stays_where_it_is(
    settings: Settings, catalog: Catalog, files: dict[str, bytes], as_zip
) -> None:
    path = as_zip(files)
    admit(settings, catalog, path, EAST)
    assert path.exists()


def test_a_delivery_is_known_by_hospital_names_and_bytes(
    settings: Settings, catalog: Catalog, files: dict[str, bytes], as_zip
) -> None:
    admit(settings, catalog, as_zip(files), EAST)
    with catalog.engine.connect() as connection:
        identity = connection.scalar(sa.select(tables.deliveries.c.id))
    assert identity is not None
    record = find_delivery(catalog, identity)
    assert record is not None
    assert record.refused == {"size": 1}
    assert find_delivery(catalog, "another") is None
