"""Prefect's server, as `prefect server start` runs it, but that its schedules come due and it never stands still.

Up to Python 3.12 Prefect 3.9.1 takes the time zones of its cron schedules from pendulum, and asks `whenever` for the
next time, which takes Python's own alone: no run of any cron schedule is ever made, and its log alone says so.

A statement that SQLite refuses ("database is locked": two transactions met, and Prefect's client asks again) leaves
its cursor open, held by its exception's traceback. When Python frees that one, in the thread of the event loop, the
cursor waits for the mutex of its connection. If another statement has the connection by then, and waits until
somebody commits, the loop waits for the statement and whoever commits for the loop: for 60 s the whole server stands
still, until the statement is refused as well, which leaves the next open cursor.

Examples:
        python -m bcd.cli.page_server prefect_page 4200
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.types import ASGIApp


def make_prefect_page() -> ASGIApp:
    """Makes Prefect's application on the database that Prefect's settings name."""
    from prefect.server.api.server import create_app

    let_cron_schedules_come_due()
    close_refused_cursors(sa.Engine)
    app: ASGIApp = create_app(final=True)
    return app


def let_cron_schedules_come_due() -> None:
    """Has Prefect give `whenever` Python's own time zone of the same name."""
    from prefect.server.schemas import schedules

    convert = schedules._whenever_zdt_from_py
    if getattr(convert, "__module__", "") == __name__:  # done before
        return

    def convert_own_zone(time: datetime) -> Any:
        zone = getattr(time.tzinfo, "key", None)
        return convert(time.replace(tzinfo=ZoneInfo(zone)) if zone else time)

    schedules._whenever_zdt_from_py = convert_own_zone


def close_refused_cursors(engine: sa.Engine | type[sa.Engine]) -> None:
    """Has connections to SQLite, of one engine or of all, close a refused statement's cursor in their own thread."""
    sa.event.listen(engine, "do_connect", _choose_connection)


def _choose_connection(dialect: sa.Dialect, _record: object, _arguments: list[Any], options: dict[str, Any]) -> None:
    if dialect.name == "sqlite":
        options["factory"] = _Connection


def _closing_refused(run: Callable[..., sqlite3.Cursor]) -> Callable[..., Any]:
    def run_or_close(cursor: sqlite3.Cursor, *arguments: Any) -> sqlite3.Cursor:
        try:
            return run(cursor, *arguments)
        except sqlite3.Error:
            cursor.close()
            raise

    return run_or_close


class _Cursor(sqlite3.Cursor):
    execute = _closing_refused(sqlite3.Cursor.execute)
    executemany = _closing_refused(sqlite3.Cursor.executemany)


class _Connection(sqlite3.Connection):
    def cursor(self, *_: Any) -> _Cursor:  # type: ignore[override]
        return super().cursor(_Cursor)
