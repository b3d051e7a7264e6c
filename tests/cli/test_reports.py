"""The page of reports that `bcd up` serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from delivering import patch_files, write_folder

from bcd.cli.reports import make_reports
from bcd.patches import Hospital, PatientId
from bcd.runtime import find_report_address
from bcd.settings import Settings
from bcd.store.ledger import LedgerEntry, record_in_ledger
from bcd.store.objects import put
from bcd.store.store import open_store

AT = datetime(2026, 11, 30, 3, 4, tzinfo=UTC)


Get = Callable[..., httpx.Response]


@pytest.fixture
def get(settings: Settings) -> Get:
    """Asks the application for a page."""
    return make_get()


def make_get() -> Get:
    app = httpx.ASGITransport(make_reports())

    async def ask(path: str, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=app, base_url="http://127.0.0.1:8090") as client:
            return await client.get(path, headers=headers)

    return lambda path, **headers: asyncio.run(ask(path, headers))


def test_a_new_home_says_that_nothing_is_there_yet(get: Get) -> None:
    assert get("/health").text == "ok"
    assert "<table>" not in get("/").text
    assert [get(path).status_code for path in ("/reports/none.html", "/scores/none/report.html")] == [404, 404]


def test_scored_patients_stand_there_with_their_reports_and_reasons(settings: Settings, get: Get) -> None:
    folder = settings.scores / "east" / "a b" / "3-00ff"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("the report of a b")
    given: dict[str, Any] = {"hospital": Hospital("east"), "bundle": "bcd-idc/3", "content": "00ff", "at": AT}
    store = open_store(settings)
    where = folder.relative_to(settings.home).as_posix()
    record_in_ledger(store, LedgerEntry(patient=PatientId("a b"), status="scored", folder=where, **given))
    failed = LedgerEntry(patient=PatientId("c"), status="failed", folder="", error="<no patch>", **given)
    record_in_ledger(store, failed)
    shown = get("/").text
    assert shown.index(">c<") < shown.index(">a b<")  # the newest first
    assert "&lt;no patch&gt;" in shown
    assert f'href="/{where}/report.html"' in shown
    assert get(f"/{where}/report.html").text == "the report of a b"
    assert get("/scores/../bcd.toml").status_code == 404


def test_every_delivery_stands_there_with_its_report(settings: Settings, get: Get, bcd, tmp_path: Path) -> None:
    monday = write_folder(tmp_path / "monday", patch_files("8867", [1]))
    assert (
        bcd("hospital", "declare", "east", "--identifiers", "pseudonyms", "--by", "Mary", "--reason", "test")[0] == 0
    )
    assert bcd("ingest", monday, "--hospital", "east")[0] == 0
    [report] = settings.reports.glob("*.html")
    assert f'href="/reports/{report.name}"' in get("/").text
    assert get(f"/reports/{report.name}").text == report.read_text()


def test_another_host_s_name_is_refused(settings: Settings, get: Get) -> None:
    """A page elsewhere that calls itself by another name for 127.0.0.1 reads nothing."""
    assert get("/", host="elsewhere.example").status_code == 400


def test_a_report_has_an_address_while_bcd_up_runs(settings: Settings) -> None:
    report = settings.scores / "east" / "a b" / "report.html"
    assert find_report_address(settings, report) == ""
    settings.home.mkdir(exist_ok=True)
    settings.servers.write_text(f'{{"home": "{settings.home}", "urls": {{"reports": "http://127.0.0.1:8090"}}}}')
    assert find_report_address(settings, report) == "http://127.0.0.1:8090/scores/east/a%20b/report.html"


def test_what_another_machine_made_is_fetched_by_a_click(
    machines: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = machines
    folder = one.scores / "east" / "a b" / "3-00ff"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("the report of a b")
    put(one, folder)
    where = folder.relative_to(one.home).as_posix()
    store = open_store(one)
    given: dict[str, Any] = {"hospital": Hospital("east"), "bundle": "bcd-idc/3", "content": "00ff", "at": AT}
    record_in_ledger(store, LedgerEntry(patient=PatientId("a b"), status="scored", folder=where, **given))
    for name, value in {"HOME": other.home, "STORE_URL": other.store_url, "CATALOG_URL": other.catalog_url}.items():
        monkeypatch.setenv(f"BCD_{name}", str(value))
    get = make_get()
    assert f'href="/{where}/report.html"' in get("/").text
    assert get(f"/{where}/report.html").text == "the report of a b"
    assert [get(f"/{path}").status_code for path in ("scores/east/a b/none/report.html", "reports/none.html")] == [
        404
    ] * 2
