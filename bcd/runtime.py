"""What the environment must say before Prefect, MLflow, TensorFlow or OpenCV are imported.

Telemetry is off, all state goes under BCD_HOME, and the servers that `bcd up` started are used where they run, unless
the settings name others.

Examples:
    >>> enter_runtime(load_settings())  # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bcd.errors import BcdError, UnavailableError
from bcd.files import rotate_log
from bcd.settings import Settings

# Prefect's own server tries to phone home unless analytics are off as well; MLflow only understands "true".
_SILENCE = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # whose pages ask an analytics host all the same
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}

_DEFAULTS = {
    "GIT_PYTHON_REFRESH": "quiet",  # MLflow warns where git is not installed
    "KERAS_BACKEND": "tensorflow",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MPLBACKEND": "Agg",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # 20 s is too short for a cold start
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def runtime_environment(settings: Settings) -> dict[str, str]:
    """Returns the variables that every process of bcd needs; a default that the user has set is left alone."""
    variables = {key: os.environ.get(key, value) for key, value in _DEFAULTS.items()}
    variables |= _SILENCE
    variables["BCD_HOME"] = str(settings.home)
    variables |= _list_credentials(settings)
    variables["PREFECT_HOME"] = os.environ.get("PREFECT_HOME", str(settings.prefect))
    for key, url in _running_servers(settings).items():
        variables[key] = os.environ.get(key, url)
    return variables


def enter_runtime(settings: Settings) -> None:
    """Makes this process one of bcd's: call it before Prefect, MLflow or Keras are imported."""
    os.environ.update(runtime_environment(settings))


def read_password(settings: Settings) -> str:
    """Reads `USER:PASSWORD` from the file that `password_file` names; empty where it names none.

    Raises:
        BcdError: The file is missing, others may read it, or it holds no such line.
    """
    if not settings.password_file:
        return ""
    file = Path(settings.password_file).expanduser()
    form = "Write one line USER:PASSWORD into it, or leave password_file empty."
    try:
        text, mode = file.read_text(encoding="utf-8").strip(), file.stat().st_mode
    except OSError as error:
        raise BcdError(f"The password file {file} cannot be read: {error.strerror}.", form) from error
    if mode & 0o077:
        raise BcdError(f"Others than its owner may read the password file {file}.", f"Run `chmod 600 {file}`.")
    user, colon, password = text.partition(":")
    if not (user and colon and password) or "\n" in text:
        raise BcdError(f"The password file {file} does not hold one line USER:PASSWORD.", form)
    return text


def read_running_servers(settings: Settings) -> dict[str, Any]:
    """Returns what `bcd up` wrote about its processes, or nothing where it has not run.

    What was copied along with a home is about the servers of the other one.
    """
    try:
        servers: dict[str, Any] = json.loads(settings.servers.read_text())
    except FileNotFoundError:
        return {}
    return servers if servers.get("home") == str(settings.home) else {}


def tell_process_start(process: int) -> str:
    """Returns when a process started, in a form that no later process of its number shares; empty: it has ended.

    It is counted from the start of the machine, where the system tells that: somebody may set the clock meanwhile.
    """
    import psutil

    try:
        if psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
            return ""
        state = Path(f"/proc/{process}/stat")
        if not state.exists():
            return f"{psutil.Process(process).create_time():.0f}"
        ticks = state.read_text().rpartition(")")[2].split()[19]  # the name before it may hold anything
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}-{ticks}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return ""


def find_report_address(settings: Settings, file: Path) -> str:
    """Returns the address at which `bcd up` serves a file under BCD_HOME; empty where it does not run."""
    url = str(read_running_servers(settings).get("urls", {}).get("reports", ""))
    return f"{url}/{quote(file.relative_to(settings.home).as_posix())}" if url else ""


def rotate_logs(settings: Settings) -> None:
    """Keeps the logs of `bcd up` under 40 MB each; it is called by `bcd up` and every night."""
    for log in settings.logs.glob("*.log"):
        rotate_log(log, limit=10_000_000, keep=3)


def url_answers(url: str) -> bool:
    """Whether something listens at the host and port of `url`."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=1):
            return True
    except OSError:
        return False


def _list_credentials(settings: Settings) -> dict[str, str]:
    """Returns what servers ask for and clients answer; a person's own MLflow server has a password of its own."""
    if not (password := read_password(settings)):
        return {}
    variables = {"PREFECT_SERVER_API_AUTH_STRING": password, "PREFECT_API_AUTH_STRING": password}
    if not settings.mlflow_url:
        user, _, word = password.partition(":")
        variables |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": word}
    return variables


def _running_servers(settings: Settings) -> dict[str, str]:
    urls = read_running_servers(settings).get("urls", {})
    variables = {
        "PREFECT_API_URL": urls.get("prefect", "") + "/api",
        "MLFLOW_TRACKING_URI": urls.get("mlflow", ""),
    }
    found = {key: url for key, url in variables.items() if url.startswith("http") and url_answers(url)}
    # Whether it answers or not: a flow must not begin on a server of its own, where nobody would see it.
    return found | ({"PREFECT_API_URL": f"{settings.prefect_url}/api"} if settings.prefect_url else {})


def find_prefect(settings: Settings) -> str:
    """Returns the address of the Prefect server: that of the settings, or of `bcd up`; empty: there is none."""
    return settings.prefect_url or str(read_running_servers(settings).get("urls", {}).get("prefect", ""))


def require_prefect(settings: Settings) -> None:
    """Makes sure that the Prefect server that the settings name takes what this machine asks it; none named is fine.

    Raises:
        UnavailableError: It does not answer, or asks for another password.
    """
    import httpx

    if not settings.prefect_url:
        return
    known = read_password(settings) or os.environ.get("PREFECT_API_AUTH_STRING", "")
    user, colon, password = known.partition(":")
    try:
        answer = httpx.get(
            f"{settings.prefect_url}/api/admin/version", auth=(user, password) if colon else None, timeout=10
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"The Prefect server at {settings.prefect_url} does not answer ({error}).",
            "Start it, or correct prefect_url in bcd.toml; password_file names the password that it asks for.",
        ) from error
