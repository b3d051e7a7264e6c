"""Others who join a study: runs of the deployment `trials` on its work pool, wherever a worker takes them.

A run does one trial after another, so that what a run costs beside training is paid once and not by each trial.
Whoever searches waits for them and does nothing else; it may be killed, and they go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from bcd.errors import BcdError
from bcd.progress import say_progress

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from bcd.search.job import Job

_DEPLOYMENT = "trials/trials"
_LOOK_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0  # after which it is said that no worker takes the runs
_END_SECONDS = 15.0  # in which a run ends by itself that finds nothing more to do


@contextmanager
def work_elsewhere(job: Job, most: int) -> Iterator[Callable[[], None]]:
    """Starts runs that work on a part of a study, and ends those that are left at the end of the block.

    Args:
        job: The study, and the part of it.
        most: How many.

    Yields:
        A function that starts another run for one that crashed.

    Raises:
        BcdError: There is no server, a run failed, or somebody cancelled all of them.
    """
    if not PREFECT_API_URL.value():
        raise BcdError(
            f"Trials shall be runs on the pool {job.options.pool}, and there is no Prefect server.",
            "Run `bcd up`, set prefect_url, or leave `pool` of [search] empty.",
        )
    with get_client(sync_client=True) as client:
        runs = _Runs(client, job, most)
        try:
            runs.keep_up()
            yield runs.keep_up
            runs.await_end()
        finally:
            runs.cancel()


class _Runs:
    """The runs that this process has started and that have not ended."""

    def __init__(self, client: SyncPrefectClient, job: Job, most: int) -> None:
        self._client, self._job, self._most = client, job, most
        self._runs: list[UUID] = []
        self._cancelled = 0
        self._looked_at = 0.0
        self._began_at = time.monotonic()
        self._has_begun = False

    def keep_up(self) -> None:
        """Looks every few seconds what became of the runs, and starts others for those that ended too soon."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        try:
            self._look()
        except httpx.TransportError:  # the server is away, and the runs go on
            return
        if self._cancelled >= self._most:
            raise BcdError("All runs of this study were cancelled.", "Run the same command again to go on.")
        while len(self._runs) < self._most - self._cancelled:
            self._runs.append(self._start())
        if not self._has_begun and time.monotonic() - self._began_at > _PATIENCE_SECONDS:
            self._has_begun = True  # said once
            say_progress(
                f"No worker has taken a run of the pool {self._job.options.pool} yet:"
                f" `bcd worker --pool {self._job.options.pool}` on a machine does."
            )

    def await_end(self) -> None:
        """Waits for runs that find nothing more to do; those that no worker has taken are not waited for."""
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline and any(run.state_type == "RUNNING" for run in self._look()):
            time.sleep(_LOOK_SECONDS / 3)

    def cancel(self) -> None:
        """Has the runs cancelled that have not ended."""
        try:
            for run in self._runs:
                self._client.set_flow_run_state(run, Cancelling())  # one that has ended stays as it ended
        except httpx.TransportError as error:
            say_progress(f"The Prefect server could not be asked to end {len(self._runs)} runs: {error}")

    def _start(self) -> UUID:
        options = self._job.options
        run: FlowRun = run_deployment(
            _DEPLOYMENT,
            parameters={
                "study": self._job.study,
                "part": self._job.part,
                "trials": options.trials,
                "hours": options.hours,
                "heartbeat_seconds": options.heartbeat_seconds,
            },
            timeout=0,
        )
        return UUID(str(run.id))

    def _look(self) -> list[FlowRun]:
        found = [self._client.read_flow_run(each) for each in self._runs]
        unfinished = [run for run in found if not run.state.is_final()]
        self._runs = [run.id for run in unfinished]
        for run in found:
            if run.state_type == "RUNNING":
                self._has_begun = True
            elif run.state_type == "FAILED":
                fix = "Fix what it names and run the same command again; what was finished is kept."
                raise BcdError(f"{run.name} failed: {run.state.message}", fix)
            elif run.state_type == "CRASHED":
                say_progress(f"{run.name} has lost its process; another run takes its trial.")
            elif run.state_type == "CANCELLED":
                self._cancelled += 1
        return unfinished
