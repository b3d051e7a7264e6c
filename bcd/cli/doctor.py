"""`bcd doctor`: is this machine fit? Each line says ok, warning or fault, and the mend."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bcd.settings import Settings

_GIB = 2**30
_PACKAGES = (
    "prefect",
    "mlflow",
    "tensorflow",
    "keras",
    "optuna",
    "opencv-python-headless",
    "numpy",
    "scikit-learn",
)
_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: Whether bcd works (ok), works less well (warning) or does not work (fault).
        what: What was found.
        mend: What to do about it; empty where all is well.
    """

    level: Literal["ok", "warning", "fault"]
    what: str
    mend: str = ""


def doctor() -> None:
    """Look whether this machine is fit: Python, packages, GPU, disk, ports, folders, servers."""
    import typer

    from bcd.runtime import enter
    from bcd.settings import load_settings

    settings = load_settings()
    enter(settings)
    findings = list(examine(settings))
    for finding in findings:
        typer.secho(f"{finding.level:<8}", fg=_COLOURS[finding.level], nl=False)
        typer.echo(finding.what + (f" {finding.mend}" if finding.mend else ""))
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Looks at one thing after the other."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _look_at_python,
        _look_at_packages,
        _look_at_mlflow_folder,
        _look_at_devices,
        _look_at_memory_and_disk,
        _look_at_folders,
        _look_at_servers,
    )
    for check in checks:
        yield from check(settings)


def _look_at_python(_settings: Settings) -> Iterator[Finding]:
    found = f"Python {sys.version.split()[0]}"
    if (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("ok", found)
    else:
        yield Finding("fault", f"{found} is not supported.", "Use Python 3.11, 3.12 or 3.13.")


def _look_at_packages(_settings: Settings) -> Iterator[Finding]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Finding("fault", f"{package} is not installed.", "Run make install.")
    yield Finding("ok", ", ".join(found))
    try:
        version("opencv-python")
    except PackageNotFoundError:
        return
    yield Finding("fault", "opencv-python is installed beside opencv-python-headless.", "Uninstall opencv-python.")


def _look_at_mlflow_folder(_settings: Settings) -> Iterator[Finding]:
    import mlflow

    if not hasattr(mlflow, "__version__"):
        yield Finding(
            "fault", "The folder mlflow/ shadows the library.", "Remove mlflow/__init__.py; run make install."
        )


def _look_at_devices(_settings: Settings) -> Iterator[Finding]:
    from bcd.networks.backend import keras

    gpus = keras.distribution.list_devices("gpu")
    if gpus:
        yield Finding("ok", f"{len(gpus)} GPU")
    else:
        yield Finding("warning", "No GPU: training runs on the processor.", "With one, install the extra `gpu`.")


def _look_at_memory_and_disk(settings: Settings) -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory().total
    level: Literal["ok", "warning"] = "ok" if memory >= 6 * _GIB else "warning"
    yield Finding(level, f"{memory / _GIB:.0f} GiB of memory", "" if level == "ok" else "6 GiB are advised.")
    free = shutil.disk_usage(settings.home).free
    if free >= 5 * _GIB:
        yield Finding("ok", f"{free / _GIB:.0f} GiB free on the disk of {settings.home}")
    else:
        yield Finding("warning", f"{free / _GIB:.1f} GiB free on the disk of {settings.home}.", "Free 5 GiB.")


def _look_at_folders(settings: Settings) -> Iterator[Finding]:
    probe = settings.home / ".doctor"
    try:
        probe.write_text("")
        probe.unlink()
        yield Finding("ok", f"{settings.home} can be written")
    except OSError as error:
        yield Finding("fault", f"{settings.home} cannot be written: {error}.", "Choose another folder with --home.")


def _look_at_servers(settings: Settings) -> Iterator[Finding]:
    from bcd.cli import daemons, processes

    alive = processes.alive(settings)
    if alive:
        yield Finding("ok", daemons.describe(settings)[0])
    for what, mend in daemons.ended(settings):
        yield Finding("warning", what, mend)
    ports = {"prefect": settings.prefect_port, "mlflow": settings.mlflow_port, "studies": settings.studies_port}
    for name in [name for name in ports if name in daemons.needed(settings) and name not in alive]:
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", ports[name])) == 0
        if not taken:
            yield Finding("ok", f"Port {ports[name]} is free for {name}; `bcd up` starts it")
        elif processes.leftovers(settings):
            what = f"Port {ports[name]} for {name} is held by what an earlier `bcd up` of this BCD_HOME left."
            yield Finding("warning", what, "`bcd up` ends it and starts anew.")
        else:
            mend = f"Stop that program, or set BCD_{name.upper()}_PORT."
            yield Finding("warning", f"Port {ports[name]} for {name} is taken by another program.", mend)
