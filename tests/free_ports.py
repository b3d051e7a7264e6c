"""Ports for servers that tests start."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from itertools import cycle

_FIRST, _NUMBER = 20_000, 12_000  # below those from which the system takes one for each connection
_BEGIN = os.getpid() * 37 % _NUMBER  # processes that run tests side by side begin at different ones
_ports = cycle([_FIRST + (_BEGIN + step) % _NUMBER for step in range(_NUMBER)])


def find_free_port() -> int:
    """Returns a port that nobody listens at, another one each time: it may be a while until its server listens."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError
