"""`bcd worker`: a machine takes runs from a work pool of a Prefect server that others use too."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bcd.errors import BcdError, UnavailableError

if TYPE_CHECKING:
    from bcd.settings import Settings


def worker_command(
    *,
    pool: Annotated[str, typer.Option(help="The work pool, which is made where it is not there.")],
    limit: Annotated[int, typer.Option(min=1, help="How many runs it has at a time.")] = 1,
    systemd: Annotated[
        Path | None, typer.Option(help="Start nothing; write a unit for systemd into this folder, for a server.")
    ] = None,
) -> None:
    """Work for a study or a retraining of another machine, until Ctrl-C. Its settings name what the two share."""
    from bcd.cli.terminal import open_terminal
    from bcd.search.options import require_pool_of_others
    from bcd.settings import load_settings

    settings = load_settings()
    require_pool_of_others(pool)
    with open_terminal(settings, needs_home=False) as console:
        if systemd is not None:
            from bcd.cli.units import write_worker_unit

            unit = write_worker_unit(settings, pool, limit, systemd)
            console.print(str(unit), soft_wrap=True, highlight=False)
            console.print(f"Install it         sudo cp {unit} /etc/systemd/system/", soft_wrap=True)
            console.print(f"Start it           sudo systemctl daemon-reload; sudo systemctl enable --now {unit.name}")
            return
        require_reach(settings)
        with _start_worker(settings, pool, limit) as worker:
            console.print(f"This machine takes runs of the pool {pool}; Ctrl-C ends it.", soft_wrap=True)
            code = worker.wait()
    raise UnavailableError(f"The worker ended by itself, with code {code}.", "Its last lines above say why.")


def require_reach(settings: Settings) -> None:
    """Makes sure that a worker with these settings finds what the others find.

    Raises:
        UnavailableError: It does not reach the catalog, the store, the studies, MLflow or Prefect; each is told.
    """
    faults = list(_find_out_of_reach(settings))
    if faults:
        raise UnavailableError(
            "\n     ".join(" ".join(f"{error.what} {error.fix}".split()) for error in faults),  # a line each
            "Correct the settings (docs/how-to/many-machines.md) and run the same command again.",
        )


def _find_out_of_reach(settings: Settings) -> Iterator[BcdError]:
    from bcd.cli import daemons, processes
    from bcd.runtime import find_prefect, require_prefect
    from bcd.search.storage import make_storage
    from bcd.store.objects import probe_store
    from bcd.store.schemas import hide_url_password
    from bcd.store.store import open_store
    from bcd.tracking.store import open_mlflow_client

    is_where_up_runs = bool(processes.alive(settings)) or daemons.is_run_by_systemd(settings)
    tries: dict[str, Callable[[Settings], object]] = {
        "catalog_url": open_store,
        "study_url": make_storage,
        "mlflow_url": open_mlflow_client,
        "prefect_url": require_prefect,
    }
    for name, reach in tries.items():
        if not getattr(settings, name) and not is_where_up_runs:
            yield BcdError(f"{name} is empty: this machine would use one of its own.", "Name that of the others.")
            continue
        if name == "mlflow_url" and not is_where_up_runs and not settings.mlflow_url.startswith("http"):
            what = (
                f"mlflow_url names the database {hide_url_password(settings.mlflow_url)}, whose files lie elsewhere."
            )
            yield BcdError(what, "Name the MLflow server of the others.")
            continue
        try:
            reach(settings)
        except BcdError as error:
            yield error
    if settings.store_url:
        try:
            probe_store(settings)
        except BcdError as error:
            yield error
    elif not is_where_up_runs and not settings.snapshots.exists():
        yield BcdError(
            "store_url is empty, and no snapshot is here: this machine has nothing to work on.", "Name it."
        )
    if is_where_up_runs and not find_prefect(settings):
        yield BcdError("No Prefect server runs on this home.", "Run `bcd up`, or set prefect_url.")


@contextmanager
def _start_worker(settings: Settings, pool: str, limit: int) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a worker during the block, and ends it with the runs that it has under way."""
    from filelock import Timeout

    from bcd.cli import daemons, flow_runs, processes
    from bcd.cli.deployments import keep_pool, require_process_pool
    from bcd.files import lock_file
    from bcd.runtime import find_prefect

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as systemd stops it
    lock = lock_file(settings.home / ".locks" / f"worker-{pool}.lock")
    try:
        held = lock.acquire(blocking=False)
    except Timeout as error:
        fix = "Leave it alone, or name another folder with --home."
        raise BcdError(f"A worker of the pool {pool} runs on the home {settings.home}.", fix) from error
    prefect = find_prefect(settings)
    with held:
        processes.end(processes.find_marked_processes(processes.mark_worker(settings, pool)))  # of a killed command
        with flow_runs.open_prefect_client(prefect) as client:
            keep_pool(client, pool)
            require_process_pool(client, pool)
        command, variables = daemons.prepare_worker(settings, prefect, pool, limit)
        variables |= processes.mark_worker(settings, pool)
        with subprocess.Popen(command, env=variables, cwd=settings.home, start_new_session=True) as worker:
            try:
                yield worker
            finally:
                _end_worker(worker, prefect)


def _end_worker(worker: subprocess.Popen[bytes], prefect: str) -> None:
    import httpx
    import psutil

    from bcd.cli import flow_runs, processes
    from bcd.progress import say_progress

    if worker.poll() is not None:
        return
    process = psutil.Process(worker.pid)
    cut_off = flow_runs.find_flow_runs_of(process)
    processes.end_process_family(process)
    try:
        flow_runs.tell_flow_runs_crashed(prefect, cut_off)
    except httpx.HTTPError as error:
        say_progress(f"The Prefect server could not be told that {len(cut_off)} runs have ended: {error}")
