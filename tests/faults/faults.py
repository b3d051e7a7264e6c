"""What goes wrong in a hospital's day, and when: kills spread over the stages by seed, and faults of the machine.

Each is a context: on entering it happens, on leaving it what whoever looks after the machine does of itself is done:
`bcd up` as systemd starts a process again, a disk with room, a lock that is given back.
"""

from __future__ import annotations

import random
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from hospital import Hospital, kill_processes, list_processes, run_bcd

STAGES = ("ingest", "preprocess", "search", "train", "evaluate", "promote", "score")


@dataclass(frozen=True)
class Fault:
    """One fault of one day.

    Attributes:
        kind: What goes wrong.
        number: Which of its kind.
        stage: The flow under way.
        part: When, as a part of the time that the flow takes undisturbed.
    """

    kind: str
    number: int
    stage: str
    part: float

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


def list_faults() -> list[Fault]:
    """Lists all faults; those of a kind are spread over the stages."""
    faults = []
    for kind, (times, *_) in KINDS.items():
        order = random.Random(kind).sample(STAGES, len(STAGES))
        for number in range(times):
            part = random.Random(f"{kind} {number}").random()
            faults.append(Fault(kind, number + 1, order[number % len(order)], part))
    return faults


def start_again(_hospital: Hospital) -> None:
    """Starts what has ended."""
    started = run_bcd("up")
    assert started.returncode == 0, started.stdout + started.stderr


@contextmanager
def _kill_flow_process(hospital: Hospital) -> Iterator[None]:
    hospital.kill_flow_process()
    yield


def _kill_daemon(name: str) -> Callable[[Hospital], AbstractContextManager[None]]:
    @contextmanager
    def kill(hospital: Hospital) -> Iterator[None]:
        hospital.kill(name)
        yield
        start_again(hospital)

    return kill


@contextmanager
def _kill_postgresql(hospital: Hospital) -> Iterator[None]:
    hospital.postgres.kill()
    yield
    hospital.postgres.start()


@contextmanager
def _fill_disk(hospital: Hospital) -> Iterator[None]:
    ballast = hospital.home.parent / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass
    yield
    ballast.unlink()
    start_again(hospital)


def _lock(database: str) -> Callable[[Hospital], AbstractContextManager[None]]:
    @contextmanager
    def lock(hospital: Hospital) -> Iterator[None]:
        connection = sqlite3.connect(hospital.home / database, isolation_level=None, timeout=60)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.close()
        start_again(hospital)

    return lock


@contextmanager
def _take_port(hospital: Hospital) -> Iterator[None]:
    """MLflow's server ends, and another program takes its port before it is started again."""
    port = hospital.ports["mlflow"]
    hospital.kill("mlflow")
    with socket.create_server(("127.0.0.1", port)):
        refused = run_bcd("up")
        assert refused.returncode != 0
        assert f"Port {port} is taken" in refused.stderr
        yield
    start_again(hospital)


def _move_clock(hours: int) -> Callable[[Hospital], AbstractContextManager[None]]:
    @contextmanager
    def move(hospital: Hospital) -> Iterator[None]:
        (hospital.home / "clock").write_text(f"{hours:+d}h")
        yield

    return move


@contextmanager
def _shut_down(hospital: Hospital) -> Iterator[None]:
    """As an operating system that shuts down: everything is asked to end at once, and soon killed."""
    for process in list_processes(hospital.home):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    yield
    kill_processes(hospital.home)
    start_again(hospital)


KINDS: dict[str, tuple[int, Callable[[Hospital], AbstractContextManager[None]], float]] = {
    "flow process": (20, _kill_flow_process, 0),
    "worker": (5, _kill_daemon("worker"), 2),
    "Prefect server": (5, _kill_daemon("prefect"), 2),
    "MLflow server": (5, _kill_daemon("mlflow"), 2),
    "PostgreSQL": (5, _kill_postgresql, 3),
    "disk full": (3, _fill_disk, 20),
    "catalog locked": (2, _lock("catalog.db"), 75),
    "MLflow's database locked": (1, _lock("mlflow/mlflow.db"), 75),
    "Prefect's database locked": (1, _lock("prefect/prefect.db"), 75),
    "port taken": (1, _take_port, 5),
    "clock an hour ahead": (1, _move_clock(1), 0),
    "clock an hour back": (1, _move_clock(-1), 0),
    "SIGTERM at shutdown": (2, _shut_down, 5),
}
"""Of each kind how many, what happens, and for how many seconds it stays so."""


def find_faketime() -> str:
    """Returns the path of libfaketime for processes of several threads; empty where it is not installed."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(found[0]) if found else ""
