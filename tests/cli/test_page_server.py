"""The server of the pages of `bcd up`, which sleeps until somebody opens a page or it is to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from free_ports import find_free_port

from bcd.cli import page_server
from bcd.cli.page_server import PageServer


class _Counting(PageServer):
    """Counts how often it looks whether it is to end."""

    looks = 0

    async def on_tick(self, counter: int) -> bool:
        self.looks += 1
        return await super().on_tick(counter)


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def terminated() -> Iterator[list[int]]:
    """The signals that reach the process when its server has ended; they would end the tests."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def port() -> int:
    return find_free_port()


def test_a_page_sleeps_until_a_signal_comes(
    port: int, terminated: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "_TICK_SECONDS", 3600.0)
    server = _Counting(uvicorn.Config(_answer, port=port, log_level="error", lifespan="off"))

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).text == "ok"
        await asyncio.sleep(0.5)  # uvicorn by itself looks five times
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, 60)

    asyncio.run(serve())
    assert server.looks == 2  # when it began, and at the signal
    assert terminated == [signal.SIGTERM]


def test_a_page_sets_its_date_anew(port: int, terminated: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "_TICK_SECONDS", 0.01)
    server = _Counting(uvicorn.Config(_answer, port=port, log_level="error", lifespan="off"))

    async def serve() -> None:
        serving = asyncio.create_task(server.serve())
        while server.looks < 5:
            await asyncio.sleep(0.01)
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.wait_for(serving, 60)

    asyncio.run(serve())
    assert terminated == [signal.SIGTERM]


def test_a_page_whose_port_is_taken_ends_with_a_code(tmp_path: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "bcd.cli.page_server", "reports", str(taken.getsockname()[1])]
        done = subprocess.run(
            command, env=os.environ | {"BCD_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
        )
    assert done.returncode != 0
    assert "address already in use" in done.stderr
