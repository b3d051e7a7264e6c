"""The doctor says what is wrong and how to fix it."""

from __future__ import annotations

import re
import socket
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import pytest

from bcd.cli.doctor import Finding, examine_machine
from bcd.settings import Settings, load_settings
from bcd.store.bucket import open_bucket

module = import_module("bcd.cli.doctor")


def test_a_fit_machine_has_no_fault(settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    findings = list(examine_machine(settings))
    assert {finding.level for finding in findings} <= {"ok", "warning"}
    told = " ".join(finding.what for finding in findings)
    for subject in ("Python", "tensorflow", "GPU", "memory", "disk", "written", "Port"):
        assert subject in told


def test_every_bad_finding_names_its_fix(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.inbox.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("BCD_PREFECT_PORT", str(port))
        findings = list(examine_machine(load_settings()))
    [taken] = [finding for finding in findings if str(port) in finding.what]
    assert taken.level == "warning"
    assert "BCD_PREFECT_PORT" in taken.fix
    assert all(finding.fix for finding in findings if finding.level != "ok")


def test_a_home_that_cannot_be_written_is_a_fault(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    settings.inbox.mkdir(parents=True)
    monkeypatch.setattr(Path, "write_text", refuse)  # root may write anywhere, so chmod proves nothing
    faults = [finding for finding in examine_machine(settings) if finding.level == "fault"]
    assert any(str(settings.home) in fault.what for fault in faults)
    assert all(fault.fix for fault in faults)


def test_a_home_that_is_not_there_is_a_fault_and_is_not_made(settings: Settings) -> None:
    [missing] = [finding for finding in examine_machine(settings) if finding.level == "fault"]
    assert str(settings.home) in missing.what
    assert not settings.home.exists()


def test_a_missing_champion_is_told(settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    [told] = [finding for finding in examine_machine(settings) if "No model is champion" in finding.what]
    assert told.level == "warning"
    assert "`bcd model adopt released" in told.fix


def test_deliveries_that_no_run_takes_are_a_warning_with_the_command(settings: Settings) -> None:
    (settings.inbox / "north").mkdir(parents=True)
    (settings.inbox / "north" / "a.zip").write_bytes(b"PK")
    [found] = [finding for finding in examine_machine(settings) if "bcd hospital declare" in finding.fix]
    assert found.level == "warning"
    assert re.search(r"\b1 delivery\b", found.what)
    assert "`bcd hospital declare north" in found.fix


def test_a_machine_without_openslide_is_at_fault(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(package: str) -> str:
        if package == "openslide-bin":
            raise PackageNotFoundError(package)
        return version(package)

    settings.inbox.mkdir(parents=True)
    monkeypatch.setattr(module, "version", found)
    [told] = [finding for finding in examine_machine(settings) if finding.level == "fault"]
    assert "openslide-bin" in told.what


def test_the_store_is_written_and_read_or_what_is_wrong_with_it_is_told(machines: tuple[Settings, Settings]) -> None:
    def look(settings: Settings) -> list[Finding]:
        return [finding for finding in examine_machine(settings) if "s3://" in finding.what]

    one, _ = machines
    [found] = look(one)
    assert (found.level, "s3://east/bcd" in found.what, "100 GB" in found.what) == ("ok", True, True)
    assert open_bucket(one.store_url).find("probe") == []
    [fault] = look(one.model_copy(update={"store_url": "s3://nowhere/bcd"}))
    assert (fault.level, "s3://nowhere/bcd" in fault.what) == ("fault", True)
    assert look(one.model_copy(update={"store_url": ""})) == []


def test_a_machine_that_shares_a_catalog_needs_no_home_yet(machines: tuple[Settings, Settings]) -> None:
    one, _ = machines
    found = [finding.level for finding in examine_machine(one) if str(one.home) in finding.what]
    assert "ok" in found
    assert "fault" not in found
