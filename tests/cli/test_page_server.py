"""The server of the pages of `bcd up`, which sleeps until somebody opens a page or it is to end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from free_ports import find_free_port

SLEEPING = """
import sys, uvicorn
from bcd.cli import page_server

class Telling(page_server.PageServer):
    async def on_tick(self, counter):
        print("looks", flush=True)
        return await super().on_tick(counter)

async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

page_server._TICK_SECONDS = float(sys.argv[2])
Telling(uvicorn.Config(answer, port=int(sys.argv[1]), log_level="error", lifespan="off")).run()
"""


@contextmanager
def serve(tick: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serves a page that tells of each look whether it is to end; yields its address and its process."""
    port = find_free_port()
    command = [sys.executable, "-c", SLEEPING, str(port), str(tick)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{port}/", process
        finally:
            process.kill()


def read_look(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "looks\n"


def test_a_page_sleeps_until_a_signal_comes() -> None:
    with serve(tick=3600.0) as (url, process):
        read_look(process)
        assert httpx.get(url).text == "ok"
        time.sleep(0.5)  # uvicorn by itself looks five times
        process.terminate()
        told, _ = process.communicate(timeout=60)
        assert told == "looks\n"  # at the signal
        assert process.returncode == -signal.SIGTERM


def test_a_page_sets_its_date_anew() -> None:
    with serve(tick=0.01) as (_, process):
        for _look in range(5):
            read_look(process)


def test_a_page_whose_port_is_taken_ends_with_a_code(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "bcd.cli.page_server", "reports", str(taken.getsockname()[1])]
        done = subprocess.run(
            command, env=os.environ | {"BCD_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
        )
    assert done.returncode != 0
    assert "address already in use" in done.stderr
