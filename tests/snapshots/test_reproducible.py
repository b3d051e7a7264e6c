"""The same catalog content is the same snapshot, byte for byte, whatever database holds it and in whatever order."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from bcd.settings import Settings, load_settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.splits import SplitOptions
from bcd.store import tables
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

# Names that databases order differently: by case, by length, with the hyphen ignored.
PATIENTS = ["a", "B", "b", "A", "a-1", "a1", "A-", "10", "9", "Z", "z-z", "zz"]
OPTIONS = [
    SplitOptions(),
    SplitOptions(protocol="cruz-roa-2014-dev"),
    SplitOptions(protocol="leave-one-hospital-out", held_out="West"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home")


@pytest.fixture
def full(store: Store, store_batch) -> Store:
    """Two hospitals, a revised label, a doubt and a withdrawn patient."""
    store_batch(PATIENTS, labels=(0, 1, None), hospital="east")
    store_batch(PATIENTS[:5], labels=(1, 0), hospital="West")
    now = datetime.now(UTC)
    cell = {"hospital": "east", "patient": "B", "slide": "5", "y": 51}
    with store.write() as connection:
        delivery = connection.scalars(sa.select(tables.deliveries.c.id)).first()
        human = vars(SignOff("a test", "a letter"))
        connection.execute(sa.insert(tables.label_revisions).values({**cell, "x": 1, "label": 1} | human))
        doubt = {**cell, "x": 51, "rule": "two-labels", "delivery": delivery, "message": "", "found_at": now}
        connection.execute(sa.insert(tables.conflicts).values(doubt))
        gone = {"hospital": "east", "patient": "zz"}
        connection.execute(sa.insert(tables.withdrawn).values(gone | human))
    return store


def copy_shuffled(source: Store, target: Store) -> None:
    """Enters all that a catalog holds into another one, the rows of each table in another order."""
    with source.engine.connect() as reading, target.write() as writing:
        for table in tables.metadata.sorted_tables:
            rows = [dict(row) for row in reading.execute(sa.select(table)).mappings()]
            random.Random(7).shuffle(rows)
            if rows:
                writing.execute(sa.insert(table), rows)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.protocol)
def test_sqlite_and_postgresql_freeze_the_same_bytes(
    full: Store, settings: Settings, postgres_url: str, tmp_path: Path, options: SplitOptions
) -> None:
    elsewhere = load_settings(tmp_path / "elsewhere").model_copy(update={"catalog_url": postgres_url})
    other = open_store(elsewhere)
    copy_shuffled(full, other)
    snapshots = freeze_snapshot(full, options), freeze_snapshot(other, options)
    other.engine.dispose()
    assert snapshots[0].id == snapshots[1].id
    for name in ("patches.parquet", "manifest.json"):
        files = [each.snapshots / snapshots[0].id / name for each in (settings, elsewhere)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_rows_lie_in_the_order_of_their_characters(full: Store) -> None:
    patches = freeze_snapshot(full, SplitOptions()).patches
    keys = list(zip(*(patches[name] for name in ("hospital", "patient", "slide", "y", "x")), strict=True))
    assert keys == sorted(keys)
    assert keys[0][:2] == ("West", "A")
