"""A network in which there is nothing but this machine, and which counts every attempt to reach beyond it.

The kernel counts, whatever a process is written in; what Python processes ask for is noted besides, by name. Making
such a network needs Linux and root.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_SET_FLAGS, _UP = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP

_ATTEMPTS = ("OutNoRoutes", "Ip6OutNoRoutes", "NoPorts", "Udp6NoPorts")
"""What had no way out, and datagrams to a port of this machine that nobody listens at, such as a resolver's."""


class WatchedNetwork:
    """The network that this thread, and what it starts, is in.

    Args:
        folder: Takes the notes.
        is_closed: Whether there is nothing in it but this machine; False: this user may make no such network.
    """

    def __init__(self, folder: Path, *, is_closed: bool) -> None:
        self.is_closed = is_closed
        self._folder = folder
        (folder / "sitecustomize.py").write_text(_NOTE)

    def variables(self, *paths: Path) -> dict[str, str]:
        """Returns the variables by which a Python process notes what it asks for, and imports from `paths` first."""
        found = os.pathsep.join(map(str, (*paths, self._folder)))
        return {"PYTHONPATH": found, "NOTED_ADDRESSES": str(self._folder / "addresses")}

    def list_addresses(self) -> set[str]:
        """Returns the addresses that Python processes asked for."""
        file = self._folder / "addresses"
        return set(file.read_text().splitlines()) if file.exists() else set()

    def list_addresses_outside(self) -> set[str]:
        """Returns those of them that are not this machine's."""
        own = {"localhost", "::1", "::", "0.0.0.0", socket.gethostname()}
        return {each for each in self.list_addresses() - own if not each.startswith("127.")}

    def count_attempts(self) -> dict[str, int]:
        """Returns the kernel's counters of attempts to reach beyond this machine that are not zero."""
        assert self.is_closed
        return {name: count for name, count in _read_counters().items() if name in _ATTEMPTS and count}


@contextmanager
def watch_network(folder: Path) -> Iterator[WatchedNetwork]:
    """Moves this thread, and what it starts in the block, into a network of loopback alone, where it may.

    Threads and processes that run already stay where they are.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as outside:
        if libc.unshare(_NEW_NETWORK):
            yield WatchedNetwork(folder, is_closed=False)
            return
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
            yield WatchedNetwork(folder, is_closed=True)
        finally:
            libc.setns(outside.fileno(), _NEW_NETWORK)


_NOTE = """
import os, sys

def note(event, args):
    if event in ("socket.connect", "socket.sendto"):
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    if host:
        with open(os.environ["NOTED_ADDRESSES"], "a") as file:
            file.write((host.decode() if isinstance(host, bytes) else str(host)) + "\\n")

sys.addaudithook(note)
"""


def _read_counters() -> dict[str, int]:
    found: dict[str, int] = {}
    names: list[str] = []
    for line in Path("/proc/thread-self/net/snmp").read_text().splitlines():
        title, *fields = line.split()
        if fields[0].lstrip("-").isdigit():
            if title in {"Ip:", "Udp:"}:  # other protocols have counters of the same names
                found |= dict(zip(names, map(int, fields), strict=True))
        else:
            names = fields
    six = Path("/proc/thread-self/net/snmp6")
    if six.exists():  # no kernel without the newer protocol has it
        found |= {name: int(count) for name, count in map(str.split, six.read_text().splitlines())}
    return found
