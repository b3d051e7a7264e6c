"""The service that watches the inbox, on a real Prefect server: a run for each delivery, and none twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from delivering import patch_files, write_zip

from bcd.cli import inbox_watcher
from bcd.cli.deployments import deploy
from bcd.cli.flow_runs import connect_server
from bcd.cli.inbox_watcher import InboxWatcher
from bcd.cli.watcher_log import WatcherLog
from bcd.settings import Settings, load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

ROOT = Path(__file__).parents[2]
SIGNED = SignOff("test", "test")


class _Inbox:
    """An inbox, the runs that its watcher starts, and what it says."""

    def __init__(self, settings: Settings, dashboard: Any) -> None:
        self.folder = settings.inbox
        self.ask = dashboard.ask
        self.api = f"{dashboard.url}/api"
        self.watcher = self.begin()
        self.deployment = self.ask("GET", "/deployments/name/ingest/ingest")["id"]

    def begin(self, api: str = "") -> InboxWatcher:
        return InboxWatcher(connect_server(api or self.api), WatcherLog())

    def deliver(self, *names: str) -> None:
        for name in names:
            write_zip(self.folder / name, patch_files("1", [1]))

    def runs(self) -> list[dict[str, Any]]:
        """Those that no schedule started, in their order."""
        found = self.ask("POST", "/flow_runs/filter", sort="EXPECTED_START_TIME_ASC")
        return [run for run in found if not run["auto_scheduled"]]

    def started(self) -> list[str]:
        return [run["parameters"].get("delivery", "") for run in self.runs()]

    def end(self, delivery: str, state: str, *, leaves: bool) -> None:
        """Ends the last run of a delivery."""
        run = [each for each in self.runs() if each["parameters"].get("delivery", "") == delivery][-1]
        if leaves:
            (self.folder / delivery).unlink()
        self.ask("POST", f"/flow_runs/{run['id']}/set_state", state={"type": state}, force=True)


@pytest.fixture
def inbox(settings: Settings, dashboard: Any, monkeypatch: pytest.MonkeyPatch) -> _Inbox:
    """An inbox with two hospitals, of which anything is taken at once, and the deployments on a server."""
    monkeypatch.setenv("BCD_INBOX_QUIET_SECONDS", "0")
    with open_store(settings) as store:
        declare_hospital(store, "east", "pseudonyms", SIGNED)
        declare_hospital(store, "north", "raw", SIGNED)
    deploy(load_settings(), dashboard.url, ROOT / "deployment.yaml")
    return _Inbox(settings, dashboard)


def test_every_delivery_is_a_run_and_no_more_at_once_than_the_deployment_allows(inbox: _Inbox) -> None:
    inbox.watcher.look()
    assert inbox.started() == []
    names = ["east/a.zip", "east/b.zip", "east/c.zip"]
    inbox.deliver(*names)
    for watcher in (inbox.watcher, inbox.watcher, inbox.begin()):  # the last one as if it had been killed
        watcher.look()
        assert inbox.started() == names[:2]
    assert [run["parameters"]["hospital"] for run in inbox.runs()] == ["east", "east"]
    inbox.end("east/a.zip", "COMPLETED", leaves=True)
    inbox.watcher.look()
    assert inbox.started() == names
    for name in names[1:]:
        inbox.end(name, "COMPLETED", leaves=True)
    inbox.watcher.look()
    assert inbox.started() == names


def test_what_its_run_left_in_the_inbox_is_tried_again_and_then_more_rarely(
    inbox: _Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_watcher, "_RETRY_SECONDS", (0.0, 1800.0))
    inbox.deliver("east/a.zip")
    for runs in (1, 2, 2):
        inbox.watcher.look()
        assert len(inbox.runs()) == runs
        inbox.end("east/a.zip", "FAILED", leaves=False)
    (inbox.folder / "east/a.zip").unlink()
    write_zip(inbox.folder / "east/a.zip", patch_files("2", [2]))  # handed over again
    inbox.watcher.look()
    assert len(inbox.runs()) == 3


def test_what_waits_for_a_person_is_told_by_one_run_that_takes_no_delivery(inbox: _Inbox, settings: Settings) -> None:
    inbox.deliver("west/a.zip")
    inbox.watcher.look()
    inbox.watcher.look()
    assert inbox.started() == [""]
    with open_store(settings) as store:
        declare_hospital(store, "west", "pseudonyms", SIGNED)
    inbox.watcher.look()
    assert inbox.started() == [""], "the run that looks at all of the inbox may be taking it"
    inbox.end("", "COMPLETED", leaves=False)
    inbox.watcher.look()
    assert inbox.started() == ["", "west/a.zip"]


def test_a_name_that_may_tell_somebody_is_no_parameter_of_a_run(inbox: _Inbox) -> None:
    inbox.deliver("north/for MILLER.zip")
    inbox.watcher.look()
    [name] = inbox.started()
    assert re.fullmatch(r"north/hidden-[0-9a-f]{12}\.zip", name)
    assert "MILLER" not in str(inbox.runs())


def test_nothing_is_started_while_the_deployment_is_paused_or_the_server_is_away(
    inbox: _Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox.deliver("east/a.zip")
    inbox.ask("PATCH", f"/deployments/{inbox.deployment}", paused=True)
    away = inbox.begin("http://127.0.0.1:9/api")
    for watcher in (inbox.watcher, inbox.watcher, away, away):
        watcher.look()
    assert inbox.started() == []
    assert ["paused" in line for line in capsys.readouterr().out.splitlines()] == [True, False]
    inbox.ask("PATCH", f"/deployments/{inbox.deployment}", paused=False)
    inbox.watcher.look()
    assert inbox.started() == ["east/a.zip"]


def test_an_inbox_without_a_delivery_asks_the_catalog_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_nothing(_settings: Settings) -> None:
        raise AssertionError("the catalog was opened")

    monkeypatch.setattr(inbox_watcher, "open_store", open_nothing)
    watcher = InboxWatcher(connect_server("http://127.0.0.1:9/api"), WatcherLog())
    watcher.look()
    (settings.inbox / "east").mkdir(parents=True)
    (settings.inbox / "east" / "a.zip.part").touch()
    (settings.inbox / ".DS_Store").touch()
    watcher.look()
    (settings.inbox / "east" / "a.zip.part").rename(settings.inbox / "east" / "a.zip")
    with pytest.raises(AssertionError, match="opened"):
        watcher.look()
