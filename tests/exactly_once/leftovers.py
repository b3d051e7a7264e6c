"""All that admissions leave, to be compared: rows of the catalog and files of the home."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from bcd.settings import Settings
from bcd.store import tables
from bcd.store.store import Store, open_store

State = dict[str, object]


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """Opens the catalog for the duration of the block."""
    store = open_store(settings)
    try:
        yield store
    finally:
        store.engine.dispose()


def read_state(settings: Settings) -> State:
    """Reads every row without its times and numbers, and every file's hash."""
    state: State = {}
    with opened(settings) as store, store.read() as connection:
        batches = {row.number: row.id for row in connection.execute(sa.select(tables.batches))}
        for table in tables.metadata.sorted_tables:
            rows = connection.execute(sa.select(table)).mappings()
            state[table.name] = sorted(repr(_without_numbers(row, batches)) for row in rows)
    for root in (settings.batches.parent, settings.scratch, settings.inbox, settings.received):
        for path in root.rglob("*"):
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            state[str(path.relative_to(settings.home))] = content
    return state


def _without_numbers(row: Mapping[Any, Any], batches: Mapping[int, str]) -> dict[str, Any]:
    named = {key: batches[value] if key in {"batch", "first_batch"} else value for key, value in row.items()}
    return {key: value for key, value in named.items() if key not in {"number", "at"} and not key.endswith("_at")}


def differences(found: State, expected: State) -> list[str]:
    """Names what differs, shortly."""
    return [
        f"{key}: {str(found.get(key))[:300]} instead of {str(expected.get(key))[:300]}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]
