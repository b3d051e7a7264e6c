"""Prefect's server makes the runs of schedules, and goes on after statements that SQLite refused."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

import flows
from bcd.cli.prefect_page import close_refused_cursors, let_cron_schedules_come_due


async def run(connection: AsyncConnection, *statements: str) -> None:
    for statement in statements:
        await connection.exec_driver_sql(statement)


async def meet(database: Path) -> None:
    """One connection writes, another is refused, waits for it, and has its first refusal forgotten meanwhile."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}", isolation_level="AUTOCOMMIT")
    close_refused_cursors(engine.sync_engine)
    async with engine.connect() as writer, engine.connect() as other:
        await run(writer, "PRAGMA journal_mode = WAL", "CREATE TABLE patches (id)", "BEGIN IMMEDIATE")
        await run(other, "PRAGMA busy_timeout = 0")
        with pytest.raises(sa.exc.OperationalError, match="locked") as refused:
            await run(other, "INSERT INTO patches VALUES (1)")
        await run(other, "PRAGMA busy_timeout = 8000")
        waiting = asyncio.create_task(run(other, "INSERT INTO patches VALUES (2)"))
        await asyncio.sleep(0.3)  # until its thread is in SQLite
        del refused
        gc.collect()
        await run(writer, "COMMIT")
        await waiting  # "database is locked" if the loop stood still until its patience had ended
    await engine.dispose()


def test_the_loop_goes_on_when_a_refused_statement_is_forgotten_while_another_waits(tmp_path: Path) -> None:
    asyncio.run(meet(tmp_path / "prefect.db"))


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("UTC", [3, 3, 3]), ("Europe/Berlin", [1, 2, 2])],  # in the night of the 25th the clock goes back
)
def test_a_cron_schedule_comes_due_by_the_clock_of_its_time_zone(zone: str, hours: list[int]) -> None:
    """Regression: on Python 3.11 and 3.12 the server made no run of any cron schedule, and its log alone said so."""
    from prefect.server.schemas.schedules import CronSchedule

    let_cron_schedules_come_due()
    schedule = CronSchedule(cron="0 3 * * *", timezone=zone)
    found = asyncio.run(schedule.get_dates(3, start=datetime(2026, 10, 23, 12, tzinfo=UTC)))
    assert [(each.astimezone(UTC).day, each.astimezone(UTC).hour) for each in found] == [
        (day, hour) for day, hour in zip((24, 25, 26), hours, strict=True)
    ]


def test_every_schedule_of_the_project_comes_due_every_night() -> None:
    from prefect.server.schemas.schedules import CronSchedule

    let_cron_schedules_come_due()
    deployments = yaml.safe_load(flows.DEPLOYMENTS.read_text())["deployments"]
    crons = [schedule["cron"] for each in deployments for schedule in each.get("schedules", [])]
    assert len(crons) >= 4
    for cron in crons:
        assert len(asyncio.run(CronSchedule(cron=cron, timezone="Europe/Berlin").get_dates(7))) == 7
