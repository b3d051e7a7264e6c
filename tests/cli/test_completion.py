"""Tab completes commands, options and the names of what is in the home."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from stored import store_patients

from bcd.cli.main import main
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.store import open_store

Offered = Callable[[str], list[str]]


@pytest.fixture
def offered(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offered:
    """Returns what Tab offers after what is typed."""

    def _offered(typed: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["bcd"])
        monkeypatch.setenv("_BCD_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
        with pytest.raises(SystemExit):
            main()
        told, complained = capsys.readouterr()
        assert complained == ""
        return told.split()

    return _offered


@pytest.mark.parametrize(
    ("typed", "offer"), [("bcd sna", "snapshot"), ("bcd train --ep", "--epochs"), ("bcd snapshot di", "diff")]
)
def test_commands_and_options(typed: str, offer: str, offered: Offered) -> None:
    assert offered(typed) == [offer]


def test_patients_deliveries_and_snapshots(settings: Settings, offered: Offered) -> None:
    store = open_store(settings)
    store_patients(store, ["8867", "8868", "9001"])
    snapshot = freeze_snapshot(store, SplitOptions())
    assert offered("bcd patient show 88") == ["8867", "8868"]
    assert offered(f"bcd snapshot show {snapshot.id[:3]}") == [snapshot.id[:12]]
    assert offered(f"bcd --home {settings.home} score 90") == ["9001"]
    assert offered("bcd model card ") == []


def test_without_a_home_nothing_is_offered_and_none_is_made(settings: Settings, offered: Offered) -> None:
    assert offered("bcd patient show 88") == offered("bcd hospital allow e") == offered("bcd model card c") == []
    assert not settings.home.exists()
