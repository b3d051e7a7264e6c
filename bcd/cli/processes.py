"""The processes of `bcd up`: which are alive, which ended by themselves, which a killed command left behind.

`servers.json` names what `bcd up` started. Every process and its children carry the home in an environment variable,
so that those which outlived their parent are found too. A flow run that a person starts in a terminal does not carry
it and is never touched.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.files import whole_file
from bcd.runtime import read_running_servers, tell_process_start
from bcd.settings import Settings

if TYPE_CHECKING:
    import psutil

CLIENTS = ("inbox", "worker")
"""What stands on the servers, and ends before them, so that it does not report them lost."""

SERVERS = ("prefect", "mlflow", "studies", "reports")

NAMES = (*CLIENTS, *SERVERS)
"""In the order in which they end."""

_MARK = "UP_OF_BCD_HOME"
_STOP_SECONDS = 20.0


def mark(settings: Settings, folder: Path) -> dict[str, str]:
    """Returns the variables by which a process is known as one of this home, and that keep its files together.

    Prefect, MLflow, TensorFlow and gunicorn leave files in the temporary folder, which are now in `folder`; gunicorn,
    matplotlib and Keras in the user's home, which are now there or in the cache.
    """
    marked = {_MARK: str(settings.home.resolve()), "TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    return marked | cache_environment(settings)


def mark_worker(settings: Settings, pool: str) -> dict[str, str]:
    """Returns the variables by which a worker of `bcd worker`, and what it starts, is known again."""
    return {_MARK: f"{settings.home.resolve()} {pool}", **cache_environment(settings)}


def cache_environment(settings: Settings) -> dict[str, str]:
    """Returns the variables by which libraries keep their caches in the home, and not in that of the user."""
    cache = settings.home / "cache"
    return {"MPLCONFIGDIR": str(cache / "matplotlib"), "KERAS_HOME": str(cache / "keras")}


def record_process(settings: Settings, name: str, process: int, urls: dict[str, str]) -> None:
    """Writes down a process that was started, after those that were written down before."""
    servers = read_running_servers(settings)
    known = {"pid": process, "started": tell_process_start(process)}
    servers |= {
        "urls": urls,
        "password_file": settings.password_file,
        "processes": {**servers.get("processes", {}), name: known},
    }
    _write_running_servers(settings, servers)


def record_units(settings: Settings, urls: dict[str, str]) -> None:
    """Writes down the addresses of servers that systemd runs, which no process of `bcd up` is."""
    _write_running_servers(settings, {"urls": urls, "password_file": settings.password_file, "units": True})


def process_temporary_folder(settings: Settings) -> Path:
    """Returns the folder of the processes' temporary files, made where there is none."""
    servers = read_running_servers(settings)
    folder = Path(servers.get("temporary", ""))
    if not servers.get("temporary") or not folder.is_dir():
        # Not in the home: the path of a socket may have 107 characters.
        folder = Path(tempfile.mkdtemp(prefix="bcd-up-"))
        _write_running_servers(settings, servers | {"temporary": str(folder)})
    return folder


def forget(settings: Settings) -> None:
    """Removes what is written down, and the processes' temporary files."""
    folder = read_running_servers(settings).get("temporary")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    settings.servers.unlink(missing_ok=True)


def alive(settings: Settings) -> dict[str, psutil.Process]:
    """Returns the processes that `bcd up` started and that live, by name."""
    import psutil

    living = {}
    for name, known in read_running_servers(settings).get("processes", {}).items():
        with suppress(psutil.NoSuchProcess):
            # A process id may have been given to somebody else since.
            if tell_process_start(known["pid"]) == known["started"]:
                living[name] = psutil.Process(known["pid"])
    return living


def process_has_ended(settings: Settings) -> list[str]:
    """Returns the names of what `bcd up` started and `bcd down` did not stop, but which is not alive."""
    known = read_running_servers(settings).get("processes", {})
    living = alive(settings)
    return [name for name in NAMES if name in known and name not in living]


def find_leftover_processes(settings: Settings) -> list[psutil.Process]:
    """Returns the processes of this home whose server or worker is gone, such as the runs of a killed worker."""
    kept = {process.pid for living in alive(settings).values() for process in _find_process_family(living)}
    marked = find_marked_processes({_MARK: str(settings.home.resolve())})
    return [process for process in marked if process.pid not in kept]


def find_marked_processes(marked: dict[str, str]) -> list[psutil.Process]:
    """Returns the processes that have the mark of these variables."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(_MARK) == marked[_MARK]:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it has ended meanwhile, or is somebody else's
    return found


def find_home_at(ports: Collection[int]) -> str:
    """Returns the home whose `bcd up` listens at one of some ports; empty: another program does."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended meanwhile, or is somebody else's
            home = str(process.environ().get(_MARK, ""))
            if home and any(
                each.status == psutil.CONN_LISTEN and each.laddr.port in ports
                for each in process.net_connections("tcp")
            ):
                return home
    return ""


def end_process_family(process: psutil.Process) -> None:
    """Ends a process with all its children."""
    end(_find_process_family(process))


def end(processes: Iterable[psutil.Process]) -> None:
    """Asks processes to end, and kills those that have not after a while."""
    import psutil

    asked = list(processes)
    for process in asked:
        _signal_process(process, "terminate")
    _, stubborn = psutil.wait_procs(asked, timeout=_STOP_SECONDS)
    for process in stubborn:
        _signal_process(process, "kill")
    psutil.wait_procs(stubborn, timeout=_STOP_SECONDS)


def _find_process_family(process: psutil.Process) -> list[psutil.Process]:
    import psutil

    try:
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []


def _signal_process(process: psutil.Process, verb: str) -> None:
    import psutil

    try:
        getattr(process, verb)()
    except psutil.NoSuchProcess:
        return


def _write_running_servers(settings: Settings, servers: dict[str, object]) -> None:
    with whole_file(settings.servers) as partial:
        partial.write_text(json.dumps({"home": str(settings.home), **servers}, indent=2))
