"""What `bcd up` serves of the reports, on loopback: an index of scored patients and of deliveries, and their files.

Examples:
        python -m bcd.cli.page_server reports 8090
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from bcd.settings import Settings
    from bcd.store.ledger import LedgerEntry

_MOST = 500  # rows of each table


def make_reports() -> ASGIApp:
    """Makes the application of this BCD_HOME; it answers requests that name this machine and no other."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, PlainTextResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles

    from bcd.cli.guard import guard_app
    from bcd.config import load_configuration
    from bcd.runtime import read_password
    from bcd.store.objects import require

    settings = load_configuration()

    for folder in (settings.scores, settings.reports):
        folder.mkdir(parents=True, exist_ok=True)  # a new home has none, and none would be an error of the server

    def index(_request: Request) -> Response:
        return HTMLResponse(_render_index(settings))

    class StoredFiles(StaticFiles):
        """Files of a folder of the home, each fetched from the store where it is not here."""

        def __init__(self, folder: Path, depth: int) -> None:
            super().__init__(directory=folder)
            self._folder, self._depth = folder, depth

        def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
            parts = PurePosixPath(path).parts
            if len(parts) >= self._depth and ".." not in parts:
                require(settings, self._folder.joinpath(*parts[: self._depth]))
            return super().lookup_path(path)

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/health", lambda _request: PlainTextResponse("ok")),
            Mount("/scores", StoredFiles(settings.scores, depth=3)),
            Mount("/reports", StoredFiles(settings.reports, depth=1)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )
    return guard_app(app, read_password(settings))


def _render_index(settings: Settings) -> str:
    """Returns the page that lists scored patients and deliveries, the newest first, with links to their reports."""
    from bcd.admission.report import admission_report_path
    from bcd.pages import render_page
    from bcd.scoring.result import REPORT
    from bcd.store.delivery_queries import list_stored_deliveries
    from bcd.store.ledger import list_ledger
    from bcd.store.store import open_store

    def is_there(entry: LedgerEntry) -> bool:
        if settings.store_url:  # which holds what the catalog names
            return entry.status == "scored"
        return (settings.home / entry.folder / REPORT).exists()

    with open_store(settings) as store:
        scores = [
            {
                "patient": entry.patient,
                "hospital": entry.hospital,
                "bundle": entry.bundle,
                "at": entry.at,
                "error": entry.error,
                "report": f"/{entry.folder}/{REPORT}" if is_there(entry) else "",
            }
            for entry in list_ledger(store, limit=_MOST)
        ]
        deliveries = [
            {
                "name": each.name,
                "hospital": each.hospital,
                "at": each.admitted_at,
                "admitted": each.admitted,
                "refused": sum(each.refused.values()),
                "report": f"/reports/{path.name}"
                if (path := admission_report_path(settings, each.id)).exists() or settings.store_url
                else "",
            }
            for each in reversed(list_stored_deliveries(store)[-_MOST:])
        ]
    return render_page(__package__, "reports.html.j2", {"scores": scores, "deliveries": deliveries, "most": _MOST})
