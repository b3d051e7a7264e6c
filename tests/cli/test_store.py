"""`bcd store push`, and commands of a machine whose home is empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from patients import list_patches, store_patches
from stored import new_store

from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], None]:
    """Makes commands those of a machine with these settings."""

    def enter(machine: Settings) -> None:
        values = {"HOME": machine.home, "STORE_URL": machine.store_url, "CATALOG_URL": machine.catalog_url}
        for name, value in values.items():
            monkeypatch.setenv(f"BCD_{name}", str(value))

    return enter


def test_without_an_address_there_is_nowhere_to_push_to(bcd: Run, settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    code, _, complaint = bcd("store", "push")
    assert (code, "BCD_STORE_URL" in complaint) == (2, True)


def test_an_empty_home_shows_what_another_pushed(
    bcd: Run, machines: tuple[Settings, Settings], enter: Callable[[Settings], None]
) -> None:
    one, other = machines
    store = new_store(one.model_copy(update={"store_url": ""}))
    patches = list_patches([f"p{number}" for number in range(8)], [0, 1])
    pixels = np.random.default_rng(0).integers(0, 256, (len(patches), 50, 50, 3), dtype=np.uint8)
    store_patches(store, patches, pixels)
    frozen = freeze_snapshot(store, SplitOptions())
    enter(other)
    code, told, _ = bcd("snapshot", "list", "--json")
    assert (code, json.loads(told)) == (0, [])
    enter(one)
    code, told, _ = bcd("store", "push")
    assert (code, "2 folders and files" in told) == (0, True)
    enter(other)
    assert not other.home.exists() or not Path(other.home / "store").exists()
    code, told, _ = bcd("snapshot", "list", "--json")
    assert [each["id"] for each in json.loads(told)] == [frozen.id]
    code, told, _ = bcd("snapshot", "show", frozen.id[:8], "--json")
    assert (code, json.loads(told)["id"]) == (0, frozen.id)
