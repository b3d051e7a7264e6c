"""Work on many patients or slides: one after another in this process, or several at a time on a Dask cluster.

`[run]` of bcd.toml says which. A process of the cluster that ends is no matter: its calls are done again by another.

Examples:
        with open_mapper(settings) as mapper:
            for place, outcome in mapper.run_each(score_patient_task, calls):
                print(calls[place][0], outcome())
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from bcd.errors import BcdError, UnavailableError
from bcd.mapping import RunOptions
from bcd.settings import Settings

if TYPE_CHECKING:
    from distributed import Client
    from prefect import Task
    from prefect_dask import DaskTaskRunner
    from prefect_dask.task_runners import PrefectDaskFuture

Call = tuple[str, dict[str, Any]]
"""What a call is about, for whoever reads of it, and its parameters."""

Outcome = Callable[[], Any]
"""Returns the result of a call, or raises what it raised."""

_LOOK_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0  # for a scheduler, its first process, and others where all have ended


class Mapper(Protocol):
    """Where calls of a task are done.

    Attributes:
        width: How many are done at a time.
    """

    @property
    def width(self) -> int: ...  # noqa: D102

    def submit(self, task: Task[..., Any], call: Call) -> Outcome:
        """Begins a call, here or there; it is done at the latest when its outcome is asked for."""
        ...

    def run_each(self, task: Task[..., Any], calls: Iterable[Call]) -> Iterator[tuple[int, Outcome]]:
        """Does calls; yields place and outcome of each as it ends."""
        ...


class Here:
    """Does one call after another in this process."""

    width = 1

    def submit(self, task: Task[..., Any], call: Call) -> Outcome:
        """Returns the call itself."""
        return partial(task, **call[1])

    def run_each(self, task: Task[..., Any], calls: Iterable[Call]) -> Iterator[tuple[int, Outcome]]:
        """Does one after another."""
        for place, call in enumerate(calls):
            yield place, self.submit(task, call)


class OnDask:
    """Does calls in the processes of a Dask cluster, as many at a time as it has.

    One that waited behind another in a process would share its fate, and be given up with it in the end.
    """

    def __init__(self, runner: DaskTaskRunner) -> None:
        self._runner = runner

    @property
    def width(self) -> int:
        """Processes that live."""
        return max(1, len(self._runner.client.nthreads()))

    def submit(self, task: Task[..., Any], call: Call) -> Outcome:
        """Begins a call in one of the processes."""
        future = self._begin(task, call)

        def find() -> Any:
            self._await_one([future.wrapped_future])
            return _find_outcome(future, call[0])

        return find

    def run_each(self, task: Task[..., Any], calls: Iterable[Call]) -> Iterator[tuple[int, Outcome]]:
        """Does them, and begins another as soon as one has ended."""
        left = enumerate(calls)
        under_way: dict[Any, tuple[int, Outcome]] = {}
        while True:
            for place, call in islice(left, max(0, self.width - len(under_way))):
                future = self._begin(task, call)
                under_way[future.wrapped_future] = place, partial(_find_outcome, future, call[0])
            if not under_way:
                return
            for ended in self._await_one(list(under_way)):
                yield under_way.pop(ended)

    def _await_one(self, futures: list[Any]) -> set[Any]:
        """Waits until one has ended, for as long as there are processes, and returns those that have.

        Raises:
            UnavailableError: All processes have ended, and none came in their place.
        """
        from distributed import wait

        seen = time.monotonic()
        while True:
            try:
                ended: set[Any] = wait(futures, timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED").done
            except TimeoutError as error:
                if self._runner.client.nthreads():
                    seen = time.monotonic()
                elif time.monotonic() - seen > _PATIENCE_SECONDS:
                    raise UnavailableError(
                        "All processes of the Dask cluster have ended, and none came in their place.",
                        "Their log says why, such as another bcd where they run. Start others, and run the same "
                        "command again: what was finished is kept.",
                    ) from error
            else:
                return ended

    def _begin(self, task: Task[..., Any], call: Call) -> PrefectDaskFuture[Any]:
        return self._runner.submit(task, call[1])


@contextmanager
def open_mapper(settings: Settings) -> Iterator[Mapper]:
    """Yields what `[run]` of bcd.toml names; a cluster of this machine lives as long as the block.

    Raises:
        BcdError: The extra `dask` is not installed, or the scheduler's processes are not fit for it.
        UnavailableError: The scheduler does not answer, or has no process.
    """
    options = settings.options("run", RunOptions)
    if options.engine == "process":
        yield Here()
        return
    logging.getLogger("distributed").setLevel(logging.ERROR)  # it tells of every process that begins and ends
    with _make_runner(options) as runner:
        _connect(runner, options)
        with runner.client.as_current(), _share_server():
            yield OnDask(runner)


def _make_runner(options: RunOptions) -> DaskTaskRunner:
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError as error:
        raise BcdError(
            f"[run] engine is dask, and Dask is not installed ({error.name}).",
            "Run `pip install 'bcd[dask]'`, or set engine to process.",
        ) from error
    if options.dask_address:
        return DaskTaskRunner(address=options.dask_address, client_kwargs={"timeout": _PATIENCE_SECONDS})
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": len(os.sched_getaffinity(0)),
            "threads_per_worker": 1,
            "memory_limit": 0,  # a process is not ended for its share of the machine
            "dashboard_address": None,
            "security": True,  # with keys for this cluster alone: whoever reaches a scheduler can run code by it
        }
    )


def _connect(runner: DaskTaskRunner, options: RunOptions) -> None:
    """Makes sure that a scheduler has processes, and each one thread: neither scorer nor drawing works in several."""
    try:
        client: Client = runner.client
        client.wait_for_workers(1, timeout=_PATIENCE_SECONDS)
    except (OSError, TimeoutError) as error:
        raise UnavailableError(
            f"Dask's scheduler at {options.dask_address} does not answer, or has no worker ({error}).",
            "Start it with `dask scheduler` and `dask worker`, or correct dask_address under [run].",
        ) from error
    if most := [address for address, threads in client.nthreads().items() if threads != 1]:
        raise BcdError(
            f"{len(most)} of Dask's workers have several threads, {most[0]} the first: a patient is scored by one.",
            f"Start them with `dask worker {options.dask_address} --nworkers N --nthreads 1`.",
        )


@contextmanager
def _share_server() -> Iterator[None]:
    """Has the processes of a cluster tell this run's Prefect server, also where it is the flow's own."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with get_client(sync_client=True) as client, temporary_settings({PREFECT_API_URL: str(client.api_url)}):
        yield


def _find_outcome(future: PrefectDaskFuture[Any], about: str) -> Any:
    from distributed import CancelledError, KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        number = error.allowed_failures + 1
        raise BcdError(
            f"{about}: {number} processes of Dask ended, one after another, while they worked on it.",
            "They were killed or ran out of memory: `dmesg` says so. Try it with engine = process under [run].",
        ) from error
    except CancelledError as error:
        raise UnavailableError(
            f"{about}: Dask's scheduler ended before it was done.", "Start it, and run the same command again."
        ) from error
