"""Starts and stops the servers and the worker of one BCD_HOME.

Processes outlive the command that starts them, write to BCD_HOME/logs, and are known by `servers.json`, which is
written after each start, so that `bcd down` finds them even if `bcd up` was killed halfway.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import BcdError
from bcd.files import whole_file
from bcd.progress import track
from bcd.registry.moved import artifacts_address
from bcd.runtime import answers, environment, read_servers
from bcd.settings import Settings
from bcd.store.schemas import prefect_database, require_schema

if TYPE_CHECKING:
    import psutil

WORK_POOL = "bcd"
_START_SECONDS = 180.0
_STOP_SECONDS = 20.0


def start(settings: Settings) -> dict[str, str]:
    """Starts what is not running yet, deploys the flows, and returns the addresses of their pages.

    Raises:
        BcdError: A port is taken, or a process ended instead of answering (its log is named).
    """
    from bcd.registry.tracking import own_store
    from bcd.search.storage import make_storage

    alive = _alive(settings)
    # What runs keeps the ports that it was started with, whatever the settings say by now.
    urls = _addresses(settings) | (read_servers(settings)["urls"] if alive else {})
    with track("Starting Prefect, MLflow, Optuna's dashboard and a worker", total=6) as advance:
        if "prefect" not in alive:
            require_schema("prefect", prefect_database(settings))  # the server would end without a reason
            _require_free_port(settings.prefect_port, "prefect_port")
        if "mlflow" not in alive and not settings.mlflow_url:
            _require_free_port(settings.mlflow_port, "mlflow_port")
            own_store(settings)  # before the server: two first migrations at once would end both
            _launch(settings, "mlflow", _mlflow_command(settings), urls)
        if "prefect" not in alive:
            _launch(settings, "prefect", _prefect_command(settings), urls)
        if "studies" not in alive:
            _require_free_port(settings.studies_port, "studies_port")
            storage = make_storage(settings)  # before the page: its processes would all make it at once
            _launch(settings, "studies", _studies_command(settings, storage), urls)
        _await_health(settings, "prefect", f"{urls['prefect']}/api/health")
        advance(1)
        if not settings.mlflow_url:
            _await_health(settings, "mlflow", f"{urls['mlflow']}/health")
        advance(1)
        _await_health(settings, "studies", f"{urls['studies']}/dashboard/")
        advance(1)
        settings.inbox.mkdir(parents=True, exist_ok=True)
        _prefect(settings, urls, "work-pool", "create", WORK_POOL, "--type", "process", "--overwrite")
        advance(1)
        _prefect(settings, urls, "deploy", "--all", "--prefect-file", "deployment.yaml", cwd=_project_folder())
        advance(1)
        if "worker" not in alive:
            _launch(settings, "worker", _worker_command(), urls)
        advance(1)
    return urls


def _addresses(settings: Settings) -> dict[str, str]:
    return {
        "prefect": f"http://127.0.0.1:{settings.prefect_port}",
        "mlflow": settings.mlflow_url or f"http://127.0.0.1:{settings.mlflow_port}",
        "studies": f"http://127.0.0.1:{settings.studies_port}",
    }


def runs_page(settings: Settings, mlflow: str) -> str:
    """Returns the address of the table of runs: MLflow's front page takes every visitor for one of its GenAI part."""
    from bcd.registry.tracking import experiment_id, open_client

    experiment = experiment_id(open_client(settings))
    return f"{mlflow}/#/experiments/{experiment}/runs?workflowType=machine_learning"


def stop(settings: Settings) -> list[str]:
    """Ends the processes that `start` started and returns their names."""
    import psutil

    alive = _alive(settings)
    # The worker first, so that it does not report the servers lost; its flow runs end with it.
    order = sorted(alive, key=["worker", "prefect", "mlflow", "studies"].index)
    for name in order:
        family = [*alive[name].children(recursive=True), alive[name]]
        for process in family:
            _signal(process, "terminate")
        _, stubborn = psutil.wait_procs(family, timeout=_STOP_SECONDS)
        for process in stubborn:
            _signal(process, "kill")
    settings.servers.unlink(missing_ok=True)
    return order


def end_orphans(settings: Settings) -> None:
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


def running(settings: Settings) -> dict[str, str]:
    """Returns the addresses of the pages where every process of `bcd up` is alive, else nothing."""
    alive = _alive(settings)
    urls: dict[str, str] = read_servers(settings).get("urls", {})
    needed = {"prefect", "worker", "studies"} | (set() if settings.mlflow_url else {"mlflow"})
    return urls if needed <= set(alive) else {}


def _alive(settings: Settings) -> dict[str, psutil.Process]:
    import psutil

    alive = {}
    for name, known in read_servers(settings).get("processes", {}).items():
        try:
            process = psutil.Process(known["pid"])
            # A process id may have been given to somebody else since.
            if process.is_running() and abs(process.create_time() - known["started"]) < 1:
                alive[name] = process
        except psutil.NoSuchProcess:
            continue
    return alive


def _signal(process: psutil.Process, verb: str) -> None:
    import psutil

    try:
        getattr(process, verb)()
    except psutil.NoSuchProcess:
        return


def _launch(settings: Settings, name: str, command: list[str], urls: dict[str, str]) -> None:
    import psutil

    settings.logs.mkdir(parents=True, exist_ok=True)
    with (settings.logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=_child_environment(settings, urls, is_client=name == "worker"),
            cwd=_project_folder() if name == "worker" else settings.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    servers = read_servers(settings)
    processes = servers.get("processes", {})
    processes[name] = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
    with whole_file(settings.servers) as partial:
        known = {"home": str(settings.home), "urls": urls, "processes": processes}
        partial.write_text(json.dumps(known, indent=2))


def _child_environment(settings: Settings, urls: dict[str, str], *, is_client: bool) -> dict[str, str]:
    variables = {**os.environ, **environment(settings)}
    for key in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
        variables.pop(key, None)
    # Where the dashboard's page looks for its server; the default is port 4200, whatever the server's own is.
    variables["PREFECT_SERVER_UI_API_URL"] = f"{urls['prefect']}/api"
    if is_client:
        variables |= {"PREFECT_API_URL": f"{urls['prefect']}/api", "MLFLOW_TRACKING_URI": urls["mlflow"]}
    return variables


def _mlflow_command(settings: Settings) -> list[str]:
    # The script, not `python -m mlflow`: a folder named mlflow in the working directory would shadow the library.
    script = str(Path(sys.executable).parent / "mlflow")
    database = f"sqlite:///{settings.mlflow / 'mlflow.db'}"
    address = ["--host", "127.0.0.1", "--port", str(settings.mlflow_port), "--workers", "1"]
    artifacts = ["--artifacts-destination", artifacts_address(settings)]
    return [script, "server", "--backend-store-uri", database, *artifacts, *address]


def _studies_command(settings: Settings, storage: str) -> list[str]:
    script = str(Path(sys.executable).parent / "optuna-dashboard")
    return [script, storage, "--host", "127.0.0.1", "--port", str(settings.studies_port)]


def _prefect_command(settings: Settings) -> list[str]:
    return [
        *_prefect_script(),
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(settings.prefect_port),
    ]


def _worker_command() -> list[str]:
    options = ["--pool", WORK_POOL, "--type", "process", "--name", "bcd-worker", "--install-policy", "never"]
    return [*_prefect_script(), "worker", "start", *options]


def _prefect_script() -> list[str]:
    return [str(Path(sys.executable).parent / "prefect"), "--no-prompt"]


def _prefect(settings: Settings, urls: dict[str, str], *arguments: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [*_prefect_script(), *arguments],
        env=_child_environment(settings, urls, is_client=True),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BcdError(
            f"`prefect {' '.join(arguments)}` failed: {(done.stdout + done.stderr).strip()[-1500:]}",
            "Mend what it names and run bcd up again.",
        )


def _await_health(settings: Settings, name: str, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and name in _alive(settings):
        if _is_healthy(url):
            return
        time.sleep(0.5)
    log = settings.logs / f"{name}.log"
    raise BcdError(f"The {name} server does not answer at {url}.", f"Read {log}, then run bcd down and bcd up again.")


def _is_healthy(url: str) -> bool:
    import httpx

    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _require_free_port(port: int, setting: str) -> None:
    if answers(f"http://127.0.0.1:{port}"):
        raise BcdError(
            f"Port {port} is taken by another program.",
            f"Stop it, or choose another: BCD_{setting.upper()}=NUMBER bcd up.",
        )


def _project_folder() -> Path:
    import flows

    folder = Path(flows.__file__).parents[1]
    if not (folder / "deployment.yaml").exists():
        raise BcdError(
            f"{folder} has no deployment.yaml: bcd was installed without its project folder.",
            "Install it from a checkout: make install.",
        )
    return folder
