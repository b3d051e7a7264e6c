"""`bcd doctor`: is this machine fit? Each line says ok, warning or fault, and the fix."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from bcd.cli.options import ADOPT, AsJson
from bcd.errors import BcdError
from bcd.settings import LEAST_FREE, require_home

if TYPE_CHECKING:
    from bcd.settings import Settings
    from bcd.store.schemas import Library

_GIB = 2**30
_PACKAGES = (
    "prefect",
    "mlflow",
    "openvino",
    "tensorflow",
    "keras",
    "optuna",
    "opencv-python-headless",
    "openslide-python",
    "openslide-bin",
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
        fix: What to do about it; empty where all is well.
    """

    level: Literal["ok", "warning", "fault"]
    what: str
    fix: str = ""


def doctor_command(*, as_json: AsJson = False) -> None:
    """Check this machine: Python, packages, GPU, disk, ports, folders, databases, champion and servers."""
    from rich.text import Text

    from bcd.cli.screen import Screen
    from bcd.runtime import enter_runtime
    from bcd.settings import load_settings

    settings = load_settings()
    enter_runtime(settings)
    findings = list(examine_machine(settings))
    console = Screen(as_json=as_json)
    console.facts(findings)
    for finding in findings:
        told = finding.what + (f" {finding.fix}" if finding.fix else "")
        console.print(Text.assemble((f"{finding.level:<8}", _COLOURS[finding.level]), told), soft_wrap=True)
    console.close()
    if any(finding.level == "fault" for finding in findings):
        raise typer.Exit(1)


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Looks at one thing after the other."""
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _look_at_python,
        _look_at_packages,
        _look_at_mlflow_folder,
        _look_at_devices,
        _look_at_memory_and_disk,
        _look_at_home,
        _look_at_store,
        _look_at_databases,
        _look_at_champion,
        _look_at_inbox,
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
    from importlib.util import find_spec

    spec = find_spec("mlflow")  # which imports nothing
    try:
        library = distribution("mlflow").locate_file("mlflow/__init__.py")
    except PackageNotFoundError:
        return  # told already
    if spec is None or spec.origin != str(library):
        yield Finding(
            "fault", "The folder mlflow/ shadows the library.", "Remove mlflow/__init__.py; run make install."
        )


def _look_at_devices(_settings: Settings) -> Iterator[Finding]:
    if not any(Path("/proc/driver/nvidia/gpus").glob("*")):  # asking TensorFlow takes seconds
        yield Finding("warning", "No GPU: training runs on the processor.", "With one, install the extra `gpu`.")
        return
    from bcd.networks.backend import keras

    gpus = keras.distribution.list_devices("gpu")
    if gpus:
        yield Finding("ok", f"{len(gpus)} GPU")
    else:
        yield Finding("warning", "There is a GPU, and Keras does not see it.", "Install the extra `gpu`.")


def _look_at_memory_and_disk(settings: Settings) -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory().total
    level: Literal["ok", "warning"] = "ok" if memory >= 6 * _GIB else "warning"
    yield Finding(level, f"{memory / _GIB:.0f} GiB of memory", "" if level == "ok" else "6 GiB are advised.")
    disk = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(disk).free
    if free >= LEAST_FREE:
        yield Finding("ok", f"{free / _GIB:.0f} GiB free on the disk of {settings.home}")
    else:
        yield Finding("warning", f"{free / _GIB:.1f} GiB free on the disk of {settings.home}.", "Free 5 GiB.")


def _look_at_home(settings: Settings) -> Iterator[Finding]:
    try:
        require_home(settings)
    except BcdError as error:
        is_wrong = "BCD_HOME" in os.environ and not settings.home.exists()
        yield Finding("fault" if is_wrong else "warning", error.what, error.fix)
        return
    if not settings.home.exists():
        yield Finding("ok", f"{settings.home} is not there yet; the first command that needs it makes it")
        return
    probe = settings.home / ".doctor"
    try:
        probe.write_text("")
        probe.unlink()
        yield Finding("ok", f"{settings.home} can be written")
    except OSError as error:
        yield Finding("fault", f"{settings.home} cannot be written: {error}.", "Choose another folder with --home.")


def _look_at_store(settings: Settings) -> Iterator[Finding]:
    """Writes to the store that machines share, reads it back, and removes it."""
    from bcd.store.copies import measure_copies
    from bcd.store.objects import probe_store

    if not settings.store_url:
        return
    try:
        probe_store(settings)
    except BcdError as error:
        yield Finding("fault", error.what, error.fix)
        return
    kept = f"{measure_copies(settings) / 1e9:.1f} of at most {settings.store_cache_gb:g} GB are kept here"
    yield Finding("ok", f"{settings.store_url} can be written; {kept}")


def _look_at_databases(settings: Settings) -> Iterator[Finding]:
    """Looks whether the installed libraries work with the databases that are there."""
    from bcd.store.schemas import prefect_schema_database, require_schema
    from bcd.store.store import open_store
    from bcd.tracking.store import mlflow_database_url

    store = mlflow_database_url(settings)
    databases: dict[Library, str] = {"optuna": settings.study_storage, "prefect": prefect_schema_database(settings)}
    if store is not None:
        databases["mlflow"] = store.render_as_string(hide_password=False)
    faults = 0
    for library, url in databases.items():
        try:
            require_schema(library, url)
        except BcdError as error:
            faults += 1
            yield Finding("fault", error.what, error.fix)
    if settings.home.exists():
        try:
            open_store(settings)
        except BcdError as error:
            faults += 1
            yield Finding("fault", error.what, error.fix)
    if not faults:
        yield Finding("ok", "The databases are of the versions that are installed")


def _look_at_champion(settings: Settings) -> Iterator[Finding]:
    """Loads the champion and scores two patches with it: what a scoring run would do."""
    from bcd.bundle.aliases import explain_aliases
    from bcd.bundle.rows import read_registered_versions
    from bcd.store.store import open_store
    from bcd.tracking.store import follow_moved_mlflow

    if not settings.home.exists():
        return
    try:
        follow_moved_mlflow(settings)  # the champion's files are looked for where the home is now
        rows = read_registered_versions(settings)
        champion = next((row for row in rows if "champion" in row.aliases), None)
        if champion is None:
            if told := explain_aliases(rows, open_store(settings)):
                yield Finding("fault", *told)
            else:
                fix = f"Run `bcd retrain`, or {ADOPT}."
                yield Finding("warning", "No model is champion yet: nothing can be scored.", fix)
            return
        from bcd.bundle.registry import load_registered_bundle, require_bundle_scores

        require_bundle_scores(load_registered_bundle(settings, champion))
    except BcdError as error:
        yield Finding("fault", error.what, error.fix)
        return
    yield Finding("ok", f"The champion {champion.name} loads and scores")
    if told := explain_aliases(rows, open_store(settings)):
        yield Finding("warning", *told)


def _look_at_inbox(settings: Settings) -> Iterator[Finding]:
    """Looks at what waits and no run takes."""
    from bcd.admission.waiting import find_stuck
    from bcd.store.store import open_store

    if not settings.inbox.is_dir():
        return
    try:
        stuck = find_stuck(open_store(settings))
    except BcdError as error:
        yield Finding("fault", error.what, error.fix)
    else:
        yield from (Finding("warning", each.what, each.fix) for each in stuck)


def _look_at_servers(settings: Settings) -> Iterator[Finding]:
    from bcd.cli import daemons, processes

    alive = processes.alive(settings)
    if alive:
        yield Finding("ok", daemons.describe_daemons(settings)[0])
    if "prefect" in alive or settings.prefect_url:
        yield from _look_at_deployments(settings)
    for what, fix in daemons.list_ended_daemons(settings):
        yield Finding("warning", what, fix)
    ports = {name: getattr(settings, f"{name}_port") for name in processes.SERVERS}
    for name in [name for name in ports if name in daemons.list_needed_daemons(settings) and name not in alive]:
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", ports[name])) == 0
        if not taken:
            yield Finding("ok", f"Port {ports[name]} is free for {name}; `bcd up` starts it")
        elif processes.find_leftover_processes(settings):
            what = f"Port {ports[name]} for {name} is held by what an earlier `bcd up` of this BCD_HOME left."
            yield Finding("warning", what, "`bcd up` ends it and starts anew.")
        else:
            home = processes.find_home_at([ports[name]])
            holder = f"`bcd up` of the home {home}" if home else "another program"
            fix = f"Stop it, or set BCD_{name.upper()}_PORT."
            yield Finding("warning", f"Port {ports[name]} for {name} is taken by {holder}.", fix)


def _look_at_deployments(settings: Settings) -> Iterator[Finding]:
    """Compares what the Prefect server has with the project's files."""
    import httpx

    import flows
    from bcd.cli.automations import compare_automations
    from bcd.cli.deployments import compare_deployments, find_unserved_pool
    from bcd.cli.limits import compare_limits
    from bcd.runtime import find_prefect, require_prefect

    prefect = find_prefect(settings)
    try:
        require_prefect(settings)
        differences = compare_deployments(settings, prefect, flows.DEPLOYMENTS)
        differences += compare_automations(settings, prefect, flows.DEPLOYMENTS)
        limits, others = compare_limits(settings, prefect)
        pool = find_unserved_pool(settings, prefect)
    except httpx.HTTPError as error:
        yield Finding("warning", f"The Prefect server at {prefect} does not answer: {error}.", "`bcd up` starts it.")
        return
    except BcdError as error:
        yield Finding("fault", error.what, error.fix)
        return
    yield Finding("ok", limits)
    differences += others
    if pool:
        fix = f"Run `bcd worker --pool {pool}` on a machine, or leave `pool` of [search] empty."
        yield Finding(
            "warning", f"No worker takes runs of the work pool {pool}, on which trials are to be done.", fix
        )
    if not differences:
        yield Finding("ok", "Pool, deployments, automations and limits are as the project says")
    for each in differences:
        yield Finding("warning", each, "`bcd up` makes what is missing; `bcd up --reset` undoes what was changed.")
