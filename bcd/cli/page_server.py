"""Serves a page of `bcd up`, which costs next to nothing while nobody opens it.

uvicorn asks ten times a second whether it is to end, which is a tenth of a processor second a minute for each page.
Here it is told so.

Examples:
        python -m bcd.cli.page_server reports 8090
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from types import FrameType

import uvicorn

_TICK_SECONDS = 1.0  # after which the date that answers carry is set anew


def serve_page(module: str, port: int, host: str = "127.0.0.1") -> None:
    """Serves a page of `bcd.cli` until the process is ended: `reports` is what `make_reports` makes.

    Args:
        module: The module's name, such as `reports`.
        port: Where it listens.
        host: At which address; loopback, unless a container's port is published on it.
    """
    app = f"bcd.cli.{module}:make_{module}"
    server = PageServer(uvicorn.Config(app, factory=True, host=host, port=port, access_log=False))
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again that ended it
        server.run()


class PageServer(uvicorn.Server):
    """uvicorn's server, but that it sleeps until a second has passed or a signal has come."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Waits until the server is to end."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            timer = self._loop.call_later(_TICK_SECONDS, self._ending.set)
            await self._ending.wait()
            timer.cancel()
            self._ending.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Notes that a signal has come, and wakes the loop."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ending.set)


if __name__ == "__main__":
    serve_page(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
