"""A catalog of an earlier bcd is brought up to date whole, or stays as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from bcd.settings import Settings, load_settings
from bcd.store import tables
from bcd.store.catalog import connect
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """A BCD_HOME whose database has no table."""
    home = load_settings(tmp_path / "home")
    home.home.mkdir()
    if request.param == "sqlite":
        yield home
        return
    postgres = request.getfixturevalue("postgres")
    name = postgres.make_database()
    yield home.model_copy(update={"catalog_url": postgres.url(name)})
    postgres.drop_database(name)


@pytest.fixture
def old(settings: Settings) -> Iterator[Store]:
    """A catalog of schema 0001 with a delivery, its batch and its patches, a label revision and a withdrawal."""
    store = Store(settings, connect(settings.catalog))
    config = Config()
    config.set_main_option("script_location", "bcd.store:migrations")
    evaluated = {"champion": "1", "snapshot": "s", "reasons": ["r"], "evidence": {"patients": 3}}
    cell = {"hospital": "east", "patient": "8867", "slide": "5", "x": 1, "y": 51, "label": 1}
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        old = sa.MetaData()
        old.reflect(connection)
        counts = {"admitted": 1, "ignored": 2, "patients": 1, "positive": 1, "unlabelled": 0}
        for table, row in (
            ("deliveries", {"id": "d", "hospital": "east", "name": "d.zip", "admitted_at": NOW, **counts}),
            ("batches", {"number": 1, "id": "b", "delivery": "d"}),
            ("patients", {"hospital": "east", "patient": "8867", "first_batch": 1}),
            ("patches", {**cell, "batch": 1, "row": 0, "pixel_sha256": "0"}),
            ("refusals", {"delivery": "d", "name": "n", "rule": "size", "message": "m", "sha256": "0"}),
            ("label_revisions", {**cell, "author": "a", "reason": "r", "revised_at": NOW}),
            ("withdrawn", {"hospital": "east", "patient": "8867", "withdrawn_at": NOW, "reason": "r"}),
            ("gate_decisions", {"key": "k", "decided_at": NOW, "verdict": "HOLD", "challenger": "2", **evaluated}),
        ):
            connection.execute(sa.insert(old.tables[table]).values(row))
    yield store
    store.engine.dispose()


def test_a_populated_catalog_becomes_what_a_new_one_is(settings: Settings, old: Store) -> None:
    store = open_store(settings, upgrade=True)
    with store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        delivery = connection.execute(sa.select(tables.deliveries)).mappings().one()
        assert (delivery["files"], delivery["admitted_files"], delivery["flags"]) == (4, 1, {})
        assert delivery["admitted_at"] == NOW
        hospital = connection.execute(sa.select(tables.hospitals)).mappings().one()
        assert (hospital["hospital"], hospital["identifiers"]) == ("east", "pseudonyms")
        assert SignOff.of(hospital) == SignOff("migration 0002", "not recorded")
        withdrawn = connection.execute(sa.select(tables.withdrawn)).mappings().one()
        assert (SignOff.of(withdrawn), withdrawn["at"]) == (SignOff("not recorded", "r"), NOW)
        assert connection.scalar(sa.select(tables.patches.c.patient)) == "8867"
        assert connection.scalar(sa.select(tables.label_revisions.c.label)) == 1
    (decision,) = list_stored_decisions(store)
    assert (decision.verdict, decision.reasons, decision.evidence) == ("HOLD", ["r"], {"patients": 3})
    assert (decision.kind, decision.sign_off) == ("gate", None)


def test_a_migration_that_is_interrupted_leaves_the_old_schema(
    settings: Settings, old: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = _describe(old)
    with monkeypatch.context() as patched:
        patched.setattr(op, "create_index", die)  # of the last table
        with pytest.raises(KeyboardInterrupt):
            open_store(settings, upgrade=True)
    assert _describe(old) == before
    open_store(settings, upgrade=True)
    assert "hospitals" in _describe(old)


def test_several_processes_may_open_an_old_catalog_at_once(settings: Settings, old: Store) -> None:
    _open_at_once(settings)
    assert "hospitals" in _describe(old)


def test_several_processes_may_open_a_new_catalog_at_once(tmp_path: Path) -> None:
    _open_at_once(load_settings(tmp_path / "home"))


def _open_at_once(settings: Settings) -> None:
    script = "from bcd.settings import load_settings; from bcd.store.store import open_store as o"
    script += "; o(load_settings(), upgrade=True)"
    environment = {**os.environ, "BCD_HOME": str(settings.home), "BCD_CATALOG_URL": settings.catalog_url}
    openers = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(3)]
    assert [opener.wait(timeout=120) for opener in openers] == [0, 0, 0]


def _describe(store: Store) -> dict[str, list[str]]:
    inspector = sa.inspect(store.engine)
    return {name: [column["name"] for column in inspector.get_columns(name)] for name in inspector.get_table_names()}
