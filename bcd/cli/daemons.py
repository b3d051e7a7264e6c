"""Starts and stops the servers and the worker of one BCD_HOME.

Processes outlive the command that starts them, write to BCD_HOME/logs, and are known by `servers.json`, which is
written after each start, so that `bcd down` finds them even if `bcd up` was killed halfway.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import flows
from bcd.cli import flow_runs, processes
from bcd.errors import BcdError, UnavailableError
from bcd.files import lock_file
from bcd.progress import say_progress, track_progress
from bcd.runtime import read_running_servers, require_prefect, rotate_logs, runtime_environment, url_answers
from bcd.search.options import POOL
from bcd.settings import Settings
from bcd.store.schemas import prefect_schema_database, require_schema

_START_SECONDS = 180.0
TITLES = {
    "inbox": "The inbox's watcher",
    "worker": "The worker",
    "prefect": "Prefect",
    "mlflow": "MLflow",
    "studies": "Optuna's dashboard",
    "reports": "The page of reports",
}
NEEDED_TO_DEPLOY = ("prefect", "mlflow")
"""The servers that must answer before the flows are deployed."""

_CLIENTS = {"worker": "a worker", "inbox": "the inbox's watcher"}
_SERVERS = {
    # Marks one late run in a transaction of its own, all at once: after an hour away, SQLite refuses them by the
    # hundred ("database is locked"). bcd drops what came due while no worker ran; `bcd status` says that none runs.
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    # A question whose time is over has waited for days: a minute more does not matter, and looking each 5 s costs.
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "60",
    # Four processes of over a gigabyte, for what bcd does not use.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # The worker's; a delivery waits for it.
    "PREFECT_WORKER_QUERY_SECONDS": "3",
    # Who holds which slot outlives the server: in its memory a restart would lose who gives them back.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Runs that ended 90 days ago go, with their logs and artifacts; what they came to stands in catalog and MLflow.
    # By itself the server drops events alone.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 24 * 3600),
    # Of a flow run; deployment.yaml says after how long without one it is taken for dead.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
}


@dataclass(frozen=True)
class Started:
    """What `bcd up` left running.

    Attributes:
        urls: Addresses of the pages, by server.
        told: What became of flow runs and deployments, a line each.
    """

    urls: dict[str, str]
    told: list[str]


def start(settings: Settings, *, reset: bool = False) -> Started:
    """Starts what is not running yet and deploys the flows.

    Args:
        settings: The home and the ports.
        reset: Take deployment.yaml's word for what a person changed on the dashboard.

    Raises:
        BcdError: A port is taken, a process ended instead of answering (its log is named), or the Prefect server that
            the settings name does not answer.
    """
    require_prefect(settings)
    if is_run_by_systemd(settings):
        raise BcdError("systemd runs the servers of this home.", "`systemctl restart bcd.target` starts them anew.")
    with lock_file(settings.home / ".locks" / ".servers.lock"):
        processes.end(processes.find_leftover_processes(settings))
        rotate_logs(settings)
        alive = processes.alive(settings)
        # What runs keeps the ports that it was started with, whatever the settings say by now.
        urls = _list_server_addresses(settings) | (read_running_servers(settings)["urls"] if alive else {})
        pages = _list_server_pages(settings)
        with track_progress("Starting the servers and a worker", total=2 + len(pages)) as advance:
            _start_servers(settings, alive.keys(), urls)
            for name, page in pages.items():
                _await_health(settings, name, f"{urls[name]}{page}")
                advance(1)
            settings.inbox.mkdir(parents=True, exist_ok=True)
            told = [] if "worker" in alive else _end_runs_at_start(settings, urls["prefect"])
            told += _deploy_flows(settings, urls["prefect"], reset=reset)
            advance(1)
            for name in processes.CLIENTS:
                if name not in alive:
                    _launch_daemon(settings, name, urls)
            advance(1)
    return Started(urls, told)


def stop(settings: Settings) -> list[str]:
    """Ends the processes that `start` started, with the flow runs under way, and returns their names.

    Raises:
        BcdError: systemd runs them.
    """
    if is_run_by_systemd(settings):
        raise BcdError("systemd runs the servers of this home.", "`systemctl stop bcd.target` stops them.")
    with lock_file(settings.home / ".locks" / ".servers.lock"):
        alive = processes.alive(settings)
        cut_off = flow_runs.find_flow_runs_of(alive["worker"]) if "worker" in alive else []
        for name in processes.CLIENTS:
            if name in alive:
                processes.end_process_family(alive[name])
        processes.end(processes.find_leftover_processes(settings))
        _end_runs_at_stop(settings, cut_off, is_own_server="prefect" in alive)
        for name in processes.SERVERS:
            if name in alive:
                processes.end_process_family(alive[name])
        processes.forget(settings)
    return [name for name in processes.NAMES if name in alive]


def _end_runs_at_stop(settings: Settings, cut_off: list[str], *, is_own_server: bool) -> None:
    import httpx

    from bcd.tracking.store import end_killed_mlflow_runs

    if not cut_off and not is_own_server:
        return
    prefect = read_running_servers(settings)["urls"]["prefect"]
    try:
        if not is_own_server:  # others use it too
            flow_runs.tell_flow_runs_crashed(prefect, cut_off)
        if not is_own_server or flow_runs.end_unfinished_flow_runs(prefect):
            end_killed_mlflow_runs(settings)
    except (httpx.HTTPError, BcdError) as error:
        say_progress(f"Runs under way could not be ended on the servers; the next `bcd up` does it: {error}")


def _end_runs_at_start(settings: Settings, prefect: str) -> list[str]:
    from bcd.tracking.store import end_killed_mlflow_runs

    ended, told = 0, []
    if not settings.prefect_url:  # else others use it too, and the heartbeat of what died here tells the server
        ended = flow_runs.end_unfinished_flow_runs(prefect)
        end_killed_mlflow_runs(settings)
    dropped = flow_runs.drop_missed_flow_runs(prefect)
    if ended:
        told.append(f"Flow runs whose processes were gone, ended as crashed: {ended}.")
    if dropped:
        told.append(
            f"Scheduled runs that came due while no worker ran: {dropped} dropped, the last of each kind starts."
        )
    return told


def _start_servers(settings: Settings, alive: Collection[str], urls: dict[str, str]) -> None:
    missing = [name for name in processes.SERVERS if name in list_needed_daemons(settings) - set(alive)]
    _require_free_ports(settings, missing)
    for name in missing:
        _make_ready(settings, name)
        _launch_daemon(settings, name, urls)


def prepare_daemon(settings: Settings, name: str) -> tuple[list[str], dict[str, str]]:
    """Makes what a process of `bcd up` stands on, and returns its command and its variables."""
    settings.home.mkdir(parents=True, exist_ok=True)
    _make_ready(settings, name)
    variables = _child_environment(settings, _list_server_addresses(settings), is_client=name in processes.CLIENTS)
    return _make_daemon_command(settings, name), variables | processes.cache_environment(settings)


def deploy_onto_units(settings: Settings) -> list[str]:
    """Deploys the flows onto servers that systemd runs, before it starts the worker, and notes their addresses.

    Raises:
        BcdError: A server does not answer.
    """
    require_prefect(settings)
    urls = _list_server_addresses(settings)
    deadline = time.monotonic() + _START_SECONDS
    for name, page in _list_server_pages(settings).items():
        while name in NEEDED_TO_DEPLOY and not _is_healthy(f"{urls[name]}{page}"):
            if time.monotonic() > deadline:
                raise BcdError(
                    f"{TITLES[name]} does not answer at {urls[name]}.", f"Read `journalctl -u bcd-{name}`."
                )
            time.sleep(0.5)
    processes.record_units(settings, urls)
    settings.inbox.mkdir(parents=True, exist_ok=True)
    return _end_runs_at_start(settings, urls["prefect"]) + _deploy_flows(settings, urls["prefect"])


def _deploy_flows(settings: Settings, prefect: str, *, reset: bool = False) -> list[str]:
    from bcd.cli.automations import keep_automations
    from bcd.cli.deployments import deploy
    from bcd.cli.limits import keep_limits

    told = keep_limits(settings, prefect, reset=reset)
    told += deploy(settings, prefect, flows.DEPLOYMENTS, reset=reset)
    return told + keep_automations(settings, prefect, flows.DEPLOYMENTS, reset=reset)


def _make_ready(settings: Settings, name: str) -> None:
    from bcd.tracking.store import own_mlflow_store

    if name == "prefect":
        require_schema("prefect", prefect_schema_database(settings))  # the server would end without a reason
    elif name == "mlflow":
        own_mlflow_store(settings)  # before the server: two first migrations at once would end both


def _list_server_pages(settings: Settings) -> dict[str, str]:
    pages = {"prefect": "/api/health", "mlflow": "/health", "studies": "/dashboard/", "reports": "/health"}
    return {name: page for name, page in pages.items() if name in list_needed_daemons(settings)}


def _list_server_addresses(settings: Settings) -> dict[str, str]:
    return {
        "prefect": settings.prefect_url or f"http://127.0.0.1:{settings.prefect_port}",
        "mlflow": settings.mlflow_url or f"http://127.0.0.1:{settings.mlflow_port}",
        "studies": f"http://127.0.0.1:{settings.studies_port}",
        "reports": f"http://127.0.0.1:{settings.reports_port}",
    }


def runs_page(settings: Settings, mlflow: str) -> str:
    """Returns the address of the table of retrainings."""
    from bcd.tracking.store import experiment_id, open_mlflow_client
    from bcd.tracking.view import view_page

    return view_page(mlflow, experiment_id(open_mlflow_client(settings)))


def end_orphaned_daemons(settings: Settings) -> None:
    """Ends the temporary Prefect servers that commands of this BCD_HOME left when they were killed."""
    import psutil

    for process in psutil.process_iter(["ppid", "cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if process.info["ppid"] == 1 and "uvicorn" in command and "prefect.server" in command:
            try:
                if process.environ().get("BCD_HOME") == str(settings.home):
                    process.terminate()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it has ended meanwhile, or is somebody else's


def list_needed_daemons(settings: Settings) -> set[str]:
    """Returns the names of what `bcd up` starts on this home; Optuna's dashboard knows no password."""
    left_out = {name for name in ("mlflow", "prefect") if getattr(settings, f"{name}_url")}
    return set(processes.NAMES) - (left_out | {"studies"} if settings.password_file else left_out)


def describe_daemons(settings: Settings) -> list[str]:
    """Returns a line about what runs, and one about each process that ended by itself."""
    urls = read_running_servers(settings).get("urls", {})
    alive = processes.alive(settings)
    if is_run_by_systemd(settings):
        shown = ", ".join(f"{TITLES[name]} {urls[name]}" for name in _list_server_pages(settings))
        return [f"{shown}, a worker and the inbox's watcher, run by systemd: `systemctl status 'bcd-*'`."]
    pages = [f"{TITLES[name]} {urls[name]}" for name in processes.SERVERS if name in alive]
    pages += [f"{TITLES[name]} {url}" for name in ("prefect", "mlflow") if (url := getattr(settings, f"{name}_url"))]
    pages += [title for name, title in _CLIENTS.items() if name in alive]
    lines = [f"{', '.join(pages)}."] if pages else []
    ended = [f"{what} {fix}" for what, fix in list_ended_daemons(settings)]
    if not alive and not ended:
        elsewhere = "`bcd up` has started nothing on this home."
        ended = [elsewhere if pages else "No servers are running: `bcd up` starts them."]
    return lines + ended


def is_run_by_systemd(settings: Settings) -> bool:
    """Whether units of `bcd up --systemd` serve this home now."""
    servers = read_running_servers(settings)
    return bool(servers.get("units")) and url_answers(servers["urls"]["reports"])


def list_ended_daemons(settings: Settings) -> list[tuple[str, str]]:
    """Returns what is to be said, and what to do, about each process that ended although nobody stopped it."""
    fix = "`bcd up` starts it again."
    return [
        (f"{TITLES[name]} ended by itself; its log: {settings.logs / f'{name}.log'}.", fix)
        for name in processes.process_has_ended(settings)
    ]


def _launch_daemon(settings: Settings, name: str, urls: dict[str, str]) -> None:
    folder = processes.process_temporary_folder(settings)
    is_client = name in processes.CLIENTS
    settings.logs.mkdir(parents=True, exist_ok=True)
    with (settings.logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            _make_daemon_command(settings, name),
            env=_child_environment(settings, urls, is_client=is_client) | processes.mark(settings, folder),
            cwd=settings.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    processes.record_process(settings, name, process.pid, urls)


def _child_environment(settings: Settings, urls: dict[str, str], *, is_client: bool) -> dict[str, str]:
    variables = {**os.environ, **runtime_environment(settings)}
    for key in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
        variables.pop(key, None)
    # Where the dashboard's page looks for its server; the default is port 4200, whatever the server's own is.
    variables["PREFECT_SERVER_UI_API_URL"] = f"{urls['prefect']}/api"
    variables["PREFECT_UI_URL"] = urls["prefect"]  # of the links in notifications and in MLflow
    variables |= _SERVERS
    if is_client:
        variables |= {"PREFECT_API_URL": f"{urls['prefect']}/api", "MLFLOW_TRACKING_URI": urls["mlflow"]}
    return variables


def _make_daemon_command(settings: Settings, name: str) -> list[str]:
    if name == "worker":
        return _make_worker_command(POOL, "bcd-worker")
    if name == "inbox":
        return [sys.executable, "-m", "bcd.cli.inbox_watcher"]
    if name == "studies":
        return [sys.executable, "-m", "bcd.cli.studies_page"]
    module = {"prefect": "prefect_page", "mlflow": "mlflow_page", "reports": "reports"}[name]
    return [sys.executable, "-m", "bcd.cli.page_server", module, str(getattr(settings, f"{name}_port"))]


def _make_worker_command(pool: str, name: str, *more: str) -> list[str]:
    options = ["--pool", pool, "--type", "process", "--name", name, "--install-policy", "never", *more]
    return [str(Path(sys.executable).parent / "prefect"), "--no-prompt", "worker", "start", *options]


def prepare_worker(settings: Settings, prefect: str, pool: str, limit: int) -> tuple[list[str], dict[str, str]]:
    """Returns the command and the variables of a worker that takes runs of a pool.

    Args:
        settings: The home of its runs.
        prefect: Address of the Prefect server.
        pool: The work pool's name.
        limit: How many runs it has at a time.
    """
    urls = _list_server_addresses(settings) | {"prefect": prefect}
    if not settings.mlflow_url:
        urls |= {"mlflow": read_running_servers(settings)["urls"]["mlflow"]}
    # The server tells workers apart by their names.
    name = f"{platform.node()}-{hashlib.sha256(str(settings.home).encode()).hexdigest()[:6]}"
    return _make_worker_command(pool, name, "--limit", str(limit)), _child_environment(settings, urls, is_client=True)


def _await_health(settings: Settings, name: str, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and name in processes.alive(settings):
        if _is_healthy(url):
            return
        time.sleep(0.5)
    log = settings.logs / f"{name}.log"
    raise UnavailableError(
        f"The {name} server does not answer at {url}.", f"Read {log}, then run `bcd down` and `bcd up` again."
    )


def _is_healthy(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _require_free_ports(settings: Settings, names: Collection[str]) -> None:
    ports = {name: getattr(settings, f"{name}_port") for name in names}
    taken = {name: port for name, port in ports.items() if url_answers(f"http://127.0.0.1:{port}")}
    if taken:
        shown = ", ".join(f"{port}" for port in taken.values())
        home = processes.find_home_at(taken.values())
        variables = " ".join(f"BCD_{name.upper()}_PORT" for name in taken)
        raise UnavailableError(
            f"{f'Port {shown} is' if len(taken) == 1 else f'Ports {shown} are'} taken by "
            + (f"`bcd up` of the home {home}." if home else "another program."),
            f"Stop it, or set {variables} to other numbers and run `bcd up`.",
        )
