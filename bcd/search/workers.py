"""The workers that this process has started: one process each, which ends with its one trial."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from bcd.errors import BcdError
from bcd.progress import say_progress
from bcd.search.job import Job
from bcd.search.relay import Relay
from bcd.search.worker import USER_ERROR

_SHOWN = 15  # last lines of what a worker wrote before it failed


class Worker:
    """A worker's process, its events, and what it wrote besides.

    Args:
        job: What it does.
        environment: Variables beside this process's own.
        bars: Whether its bars are shown.
    """

    def __init__(self, job: Job, environment: dict[str, str], *, bars: bool) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed when the worker has ended
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bcd.search.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **environment},
            text=True,
        )
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._relay, self._fault = Relay(bars=bars), ("", "")
        threading.Thread(target=self._read, daemon=True).start()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(job.model_dump_json() + "\n")
            self._process.stdin.flush()  # and left open: the worker ends when it closes
        except BrokenPipeError:
            pass  # it has died already, which `has_ended` tells

    def has_ended(self, seconds: float) -> bool:
        """Shows what the worker says for so long, and returns whether it has ended.

        Raises:
            BcdError: It ended because of something that the user can fix, or that nobody foresaw.
        """
        try:
            event = self._events.get(timeout=seconds)
            while event is not None:
                self._relay.show(event)
                if "error" in event:
                    self._fault = event["error"]
                event = self._events.get_nowait()
        except queue.Empty:
            return False
        self._finish(self._process.wait())
        return True

    def kill(self) -> None:
        """Ends the worker at once; its trial goes on after its last finished epoch when somebody takes it."""
        self._process.kill()
        self._process.wait()
        self._relay.close()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)

    def _finish(self, code: int) -> None:
        self._relay.close()
        self._errors.seek(0)
        written = self._errors.read().decode(errors="replace").strip().splitlines()[-_SHOWN:]
        self._errors.close()
        if code < 0:
            say_progress(f"A worker was killed (signal {-code}); its trial is tried again.")
        elif code == USER_ERROR:
            raise BcdError(*self._fault)
        elif code:
            raise BcdError(
                f"A worker of the search failed: {chr(10).join(written)}",
                "Fix what it names and run the same command again; what was finished is kept.",
            )


class Workers:
    """The workers of this process, at most so many at a time.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._workers: dict[int, Worker] = {}

    @property
    def free(self) -> int:
        """How many more may be started."""
        return self.size - len(self._workers)

    @property
    def busy(self) -> int:
        """How many are at work."""
        return len(self._workers)

    def start(self, job: Job) -> None:
        """Starts a worker."""
        place = next(place for place in range(self.size) if place not in self._workers)
        self._workers[place] = Worker(job, share_machine(place, self.size), bars=self.size == 1)

    def wait(self, seconds: float) -> None:
        """Shows what the workers say for about so long, or until one has ended."""
        for place, worker in list(self._workers.items()):
            if worker.has_ended(seconds / len(self._workers)):
                del self._workers[place]
                return

    def dismiss(self) -> None:
        """Ends all workers at once."""
        for worker in self._workers.values():
            worker.kill()
        self._workers.clear()


def share_machine(place: int, size: int) -> dict[str, str]:
    """Returns the variables by which workers share the machine: cores alike, GPUs in turn."""
    if size == 1:
        return {}
    threads = str(max(1, len(os.sched_getaffinity(0)) // size))
    share = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = sorted(path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*")) if named is None else named.split(",")
    return share | ({"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if len(gpus) > 1 else {})
