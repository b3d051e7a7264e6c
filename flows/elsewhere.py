"""Others who join in: runs of a deployment on the work pool of `[search]`, wherever a worker takes them.

A run of `trials` does one trial after another, so that what a run costs beside training is paid once and not by each
trial; a run of `member` trains one network of an ensemble. Whoever searches or trains waits for them and does nothing
else; it may be killed, and they go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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

    from bcd.retraining.plan import Retraining
    from bcd.search.job import Job
    from bcd.settings import Settings

_TRIALS, _MEMBER = "trials/trials", "member/member"
_FIX = "Fix what it names and run the same command again; what was finished is kept."
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
    _require_server(job.options.pool)
    with get_client(sync_client=True) as client:
        runs = _Runs(client, job, most)
        try:
            runs.keep_up()
            yield runs.keep_up
            runs.await_end()
        finally:
            runs.cancel()


def train_elsewhere(settings: Settings, retraining: Retraining) -> None:
    """Has every network of an ensemble trained by a run of its own, and waits until all are in the store.

    A run that an earlier call has started is waited for, too.

    Raises:
        BcdError: There is no server, a run failed, or somebody cancelled one.
    """
    from bcd.retraining.members import list_missing_members

    _require_server(retraining.plan.search.pool)
    runs: dict[int, UUID] = {}
    with get_client(sync_client=True) as client:
        try:
            while missing := list_missing_members(settings, retraining):
                with suppress(httpx.TransportError):  # the server is away, and the runs go on
                    for number in missing:
                        runs[number] = _keep_up_member(client, settings, retraining, number, runs.get(number))
                time.sleep(_LOOK_SECONDS)
        except BaseException:
            _cancel(client, list(runs.values()))
            raise


def _keep_up_member(
    client: SyncPrefectClient, settings: Settings, retraining: Retraining, number: int, known: UUID | None
) -> UUID:
    """Returns the run that trains a network; another one where there is none yet, or it lost its process."""
    from bcd.retraining.members import list_missing_members

    if known is not None:
        run = client.read_flow_run(known)
        if not run.state.is_final():
            return known
        if run.state_type == "CRASHED":
            say_progress(f"{run.name} has lost its process; another run goes on with it.")
        elif run.state_type == "CANCELLED":
            raise BcdError(f"{run.name} was cancelled.", "Run the same command again to go on.")
        elif run.state_type == "FAILED":
            raise BcdError(f"{run.name} failed: {run.state.message}", _FIX)
        elif number in list_missing_members(settings, retraining):
            raise BcdError(
                f"{run.name} has ended, and its network is not in the store of this machine.",
                "Name the same store_url on all machines of the pool.",
            )
        else:
            return known
    attempt = 0
    while True:  # the key finds what was started before
        run = run_deployment(
            _MEMBER,
            parameters={"plan": retraining.key, "number": number},
            idempotency_key=f"{retraining.key}/{number}/{attempt}",
            timeout=0,
        )
        if not (run.state.is_final() or run.state.is_cancelling()):
            return UUID(str(run.id))
        attempt += 1


def _require_server(pool: str) -> None:
    if not PREFECT_API_URL.value():
        raise BcdError(
            f"Trainings shall be runs on the pool {pool}, and there is no Prefect server.",
            "Run `bcd up`, set prefect_url, or leave `pool` of [search] empty.",
        )


def _cancel(client: SyncPrefectClient, runs: list[UUID]) -> None:
    try:
        for run in runs:
            client.set_flow_run_state(run, Cancelling())  # one that has ended stays as it ended
    except httpx.TransportError as error:
        say_progress(f"The Prefect server could not be asked to end {len(runs)} runs: {error}")


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
        _cancel(self._client, self._runs)

    def _start(self) -> UUID:
        options = self._job.options
        run: FlowRun = run_deployment(
            _TRIALS,
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
                raise BcdError(f"{run.name} failed: {run.state.message}", _FIX)
            elif run.state_type == "CRASHED":
                say_progress(f"{run.name} has lost its process; another run takes its trial.")
            elif run.state_type == "CANCELLED":
                self._cancelled += 1
        return unfinished
