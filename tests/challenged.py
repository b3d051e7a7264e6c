"""A home that the flows of a promotion run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from registered import Register
from stored import new_store

from bcd.gate.options import GateOptions
from bcd.gate.overrides import force_promotion
from bcd.retraining.plan import Retraining, write_plan
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot
from bcd.store.sign_off import SignOff
from bcd.store.store import Store


class Challenged(NamedTuple):
    """A champion, version 1, and a better challenger, version 2, whose promotion a person must approve."""

    store: Store
    retraining: Retraining


@pytest.fixture
def challenged(
    registry_settings: Settings,
    register: Register,
    make_hospital: Callable[..., Snapshot],
    monkeypatch: pytest.MonkeyPatch,
) -> Challenged:
    monkeypatch.setenv("BCD_HOME", str(registry_settings.home))
    (registry_settings.home / "bcd.toml").write_text("[evaluation]\nresamples = 200\n")
    store, snapshot = new_store(registry_settings), make_hospital(registry_settings)
    register(registry_settings, "green", key="first", snapshot=snapshot.id)
    force_promotion(store, "1", SignOff("Dr Lee", "the first one"))
    retraining = write_plan(registry_settings, snapshot, gate=GateOptions(approval=True))
    register(registry_settings, "red", key=retraining.key, snapshot=snapshot.id)
    return Challenged(store, retraining)
