"""The doctor says what is wrong and how to mend it."""

from __future__ import annotations

import socket

import pytest

from bcd.cli.doctor import examine
from bcd.settings import Settings, load_settings


def test_a_fit_machine_has_no_fault(settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    findings = list(examine(settings))
    assert {finding.level for finding in findings} <= {"ok", "warning"}
    told = " ".join(finding.what for finding in findings)
    for subject in ("Python", "tensorflow", "GPU", "memory", "disk", "written", "Port"):
        assert subject in told


def test_every_bad_finding_names_its_mend(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.inbox.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("BCD_PREFECT_PORT", str(port))
        findings = list(examine(load_settings()))
    [taken] = [finding for finding in findings if str(port) in finding.what]
    assert taken.level == "warning"
    assert "BCD_PREFECT_PORT" in taken.mend
    assert all(finding.mend for finding in findings if finding.level != "ok")


def test_a_home_that_cannot_be_written_is_a_fault(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    settings.inbox.mkdir(parents=True)
    monkeypatch.setattr(Path, "write_text", refuse)  # root may write anywhere, so chmod proves nothing
    faults = [finding for finding in examine(settings) if finding.level == "fault"]
    assert any(str(settings.home) in fault.what for fault in faults)
    assert all(fault.mend for fault in faults)


def test_a_home_that_is_not_there_is_a_fault_and_is_not_made(settings: Settings) -> None:
    [missing] = [finding for finding in examine(settings) if finding.level == "fault"]
    assert str(settings.home) in missing.what
    assert not settings.home.exists()


def test_a_missing_champion_is_told(settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    [told] = [finding for finding in examine(settings) if "No model is champion" in finding.what]
    assert (told.level, told.mend) == ("warning", "Run `bcd retrain`.")
