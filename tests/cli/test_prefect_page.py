"""Prefect's server goes on after statements that SQLite refused."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from bcd.cli.prefect_page import close_refused_cursors


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
