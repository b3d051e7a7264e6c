"""Which model `bcd score --to` opens, and what it says of whom that model saw."""

from __future__ import annotations

import pytest
from registered import Register

from bcd.cli.chosen_model import open_chosen_model
from bcd.errors import LeakageError, UnavailableError
from bcd.settings import Settings


def test_whom_a_version_saw_is_unknown_where_its_snapshot_is_gone_and_no_other_fault_is_passed_over(
    registry_settings: Settings, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(registry_settings, "red", snapshot="f" * 64)
    assert open_chosen_model(registry_settings, "1").seen is None

    def fail(*_: object) -> None:
        raise met("It is so.", "Do this.")

    monkeypatch.setattr("bcd.snapshots.freeze.load_snapshot", fail)
    for met in (LeakageError, UnavailableError):
        with pytest.raises(met):
            open_chosen_model(registry_settings, "1")
