"""What orchestration and tracking cost: of a retraining, of what waits in the background, and of a new delivery.

1. A retraining (snapshot, preparation, one epoch of `compact`, evaluation, registration, gate) of 1,000, 10,000 and
   100,000 patches, twice from the same admitted deliveries: as the deployment `retrain` on a Prefect server, an
   MLflow server and a worker, from the moment it is asked for; and as the same functions, called one after another
   in one process, the time that they spend in MLflow subtracted. Both begin with a new process. Under 5 % is asked
   for from 10,000 patches on.
2. Everything that `bcd up` starts, left alone, beside the same two servers and one worker started by hand, at the
   same time: processor time and memory. At most 1.2 times the processor time, and less than 1.2 GB, are asked for;
   and how much Prefect's database grows meanwhile. How much it grows by a retraining and by a delivery is told too.
3. A run of `trials`, which does trials of a study on another machine, that finds none left to do: what a trial
   would cost beyond training if each were a run of its own. A run does several, for it is more than 10 s.
4. A delivery that lands in the inbox: seconds to its admission beyond the quiet time that the home asks for. Less
   than 15 are asked for.

    .venv/bin/python benchmarks/orchestration.py                      # about a quarter of an hour on two quiet cores
    .venv/bin/python benchmarks/orchestration.py --patches 1000 --minutes 0.2 --deliveries 1      # a look

All of it is the synthetic hospital's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import httpx
import psutil

from bcd.patches import Hospital
from bcd.settings import Settings, load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store
from bcd.synthetic.hospital import draw_hospital
from bcd.synthetic.options import HospitalOptions

BIN = Path(sys.executable).parent
HOSPITAL = "synthetic"
QUIET = 1.0  # seconds
MOST_SHARE, MOST_TIMES, MOST_GIGABYTES, MOST_SECONDS = 0.05, 1.2, 1.2, 15.0
_PATIENTS = 40
_OPTIONS = """
inbox_quiet_seconds = {quiet}
prefect_port = {prefect}
mlflow_port = {mlflow}
studies_port = {studies}
reports_port = {reports}
[search]
trials = 0
dissertation = false
epochs = 1
[training]
epochs = 1
min_train_patients = 4
min_val_patients = 2
[evaluation]
min_patients = 3
min_patches = 10
[gate]
min_patients = 2
"""

# The functions of the flows, and how long they spent in MLflow's client.
_FUNCTIONS = """
import json, sys, time
began = float(sys.argv[1])
from bcd.config import load_configuration
from bcd.runtime import enter_runtime
settings = load_configuration()
enter_runtime(settings)
import mlflow
from mlflow import MlflowClient
spent, depth = 0.0, 0
def timed(function):
    def run(*given, **named):
        global spent, depth
        depth += 1
        start = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            depth -= 1
            if not depth:
                spent += time.perf_counter() - start
    return run
for name, function in list(vars(MlflowClient).items()):
    if callable(function) and not name.startswith("_"):
        setattr(MlflowClient, name, timed(function))
from bcd.retraining.plan import write_plan
from bcd.retraining.stages import evaluate_stage, gate_stage, register_stage, search_stage, train_stage
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.store import open_store
with open_store(settings) as store:
    snapshot = freeze_snapshot(store, settings.options("splits", SplitOptions))
retraining = write_plan(settings, snapshot)
retraining.prepare(settings)
search_stage(settings, retraining)
trained = train_stage(settings, retraining)
evaluated = evaluate_stage(settings, retraining, trained)
register_stage(settings, retraining, trained, evaluated)
gate_stage(settings, retraining)
print(json.dumps([time.time() - began, spent]))
"""


def main() -> int:
    """Prints the three tables and returns 1 where a figure is beyond what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="of a retraining")
    parser.add_argument("--minutes", type=float, default=3.0, help="that servers are left alone (default 3)")
    parser.add_argument("--deliveries", type=int, default=3, help="that land in the inbox (default 3)")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    missed = False
    with tempfile.TemporaryDirectory(prefix="bcd-orchestration-") as folder:
        missed |= tell_background(Path(folder), arguments.minutes)
        missed |= tell_inbox(Path(folder), arguments.deliveries)
        tell_trials(Path(folder))
        missed |= tell_retrainings(Path(folder), arguments.patches)
    return int(missed)


def tell_retrainings(folder: Path, sizes: list[int]) -> bool:
    """Prints what a retraining costs as flows and as functions; returns whether a share is too large."""
    print(f"\n{'patches':>9}{'as a deployment, s':>20}{'functions alone, s':>20}{'share of all the rest':>24}"
          f"{'Prefect grows by, kB':>24}")  # fmt: skip
    missed = False
    for patches in sizes:
        home = make_home(folder / f"{patches}", patches)
        plain = folder / f"{patches}-functions"
        shutil.copytree(home, plain)
        seconds, tracking = call_functions(plain)
        with serve(home) as settings:
            size = database_bytes(settings.prefect / "prefect.db")
            orchestrated = run_deployment(settings, "retrain")
            grown = database_bytes(settings.prefect / "prefect.db") - size
        share = 1 - (seconds - tracking) / orchestrated
        missed |= patches >= 10_000 and share > MOST_SHARE
        print(
            f"{patches:>9,}{orchestrated:>20.1f}{seconds - tracking:>20.1f}{share:>24.1%}{grown / 1e3:>24.0f}",
            flush=True,
        )
        shutil.rmtree(home)
        shutil.rmtree(plain)
    return missed


def make_home(folder: Path, patches: int) -> Path:
    """Makes a home in which a synthetic hospital of that many patches, more or less, is admitted."""
    from bcd.admission.admit import admit

    home = make_empty_home(folder / "home")
    options = HospitalOptions(
        patients=_PATIENTS, large_patients=0, small_patches=max(9, patches // _PATIENTS), first_share=0.999
    )
    with open_store(load_settings(home)) as store:
        declare_hospital(store, HOSPITAL, "pseudonyms", SignOff("benchmarks/orchestration.py", "benchmark"))
        for delivery in draw_hospital(options, folder / "deliveries"):
            admit(store, delivery, Hospital(HOSPITAL))
    return home


def make_empty_home(home: Path) -> Path:
    """Makes a home whose servers have ports of their own."""
    home.mkdir(parents=True)
    ports = dict(zip(("prefect", "mlflow", "studies", "reports"), find_free_ports(4), strict=True))
    (home / "bcd.toml").write_text(_OPTIONS.format(quiet=QUIET, **ports))
    return home


def find_free_ports(number: int) -> list[int]:
    """Returns ports that nobody listens at."""
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def call_functions(home: Path) -> tuple[float, float]:
    """Retrains in a process of its own; returns its seconds from its start, and those of them in MLflow."""
    done = subprocess.run(
        [sys.executable, "-c", _FUNCTIONS, repr(time.time())],
        env=os.environ | {"BCD_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"The functions failed:\n{done.stderr[-2000:]}")
    seconds, tracking = json.loads(done.stdout.splitlines()[-1])
    return seconds, tracking


@contextmanager
def serve(home: Path) -> Iterator[Settings]:
    """Runs `bcd up` on a home."""
    environment = os.environ | {"BCD_HOME": str(home)}
    subprocess.run([BIN / "bcd", "up"], env=environment, check=True, capture_output=True)
    try:
        yield load_settings(home)
    finally:
        subprocess.run([BIN / "bcd", "down"], env=environment, check=True, capture_output=True)


def run_deployment(settings: Settings, name: str, **parameters: object) -> float:
    """Runs a deployment; returns the seconds from asking for it until it has ended well, by the server's clock."""
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.prefect_port}/api", timeout=60) as client:
        deployment = client.get(f"/deployments/name/{name}/{name}").raise_for_status().json()["id"]
        asked = {"parameters": parameters}
        run = client.post(f"/deployments/{deployment}/create_flow_run", json=asked).raise_for_status().json()["id"]
        while True:
            now = client.get(f"/flow_runs/{run}").raise_for_status().json()
            state = now["state"]
            if state["type"] == "COMPLETED":
                return (
                    datetime.fromisoformat(now["end_time"]) - datetime.fromisoformat(now["created"])
                ).total_seconds()
            if state["type"] in {"FAILED", "CRASHED", "CANCELLED"}:
                raise SystemExit(f"{name} ended {state['name']}: {state['message']}")
            time.sleep(3)  # five questions a second took the server a tenth of a core


def tell_trials(folder: Path) -> None:
    """Prints what a run of `trials` takes beside training."""
    from optuna import get_all_study_names

    home = make_home(folder / "trials", 1_000)
    environment = os.environ | {"BCD_HOME": str(home)}
    with serve(home) as settings:
        subprocess.run([BIN / "bcd", "search", "--seeds", "1"], env=environment, check=True, capture_output=True)
        [study] = get_all_study_names(storage=settings.study_storage)
        taken = [run_deployment(settings, "trials", study=study, part="references") for _ in range(3)]
    shown = ", ".join(f"{seconds:.1f}" for seconds in taken)
    print(f"\nA run of `trials` that finds none left to do takes {shown} s.", flush=True)


def tell_background(folder: Path, minutes: float) -> bool:
    """Prints what servers and worker use when nothing happens; returns whether it is too much."""
    home = make_empty_home(folder / "background")
    with serve(home) as settings, serve_by_hand(folder / "by-hand") as others:
        time.sleep(60 if minutes >= 1 else 5)  # both have just begun
        groups = {"bcd up": find_processes(home), "by hand": others}
        before = {name: processor_seconds(group) for name, group in groups.items()}
        database = settings.prefect / "prefect.db"
        size = database_bytes(database)
        time.sleep(60 * minutes)
        groups["bcd up"] = find_processes(home)
        used = {name: (processor_seconds(group) - before[name]) / minutes for name, group in groups.items()}
        counts = {name: len(tree(group)) for name, group in groups.items()}
        memory = {name: sum(each.memory_full_info().pss for each in tree(group)) for name, group in groups.items()}
        grown = (database_bytes(database) - size) / minutes * 1440
    print(f"\n{'left alone':<12}{'processes':>10}{'processor s a minute':>22}{'memory, MB':>12}")
    for name, count in counts.items():
        print(f"{name:<12}{count:>10}{used[name]:>22.2f}{memory[name] / 1e6:>12.0f}")
    times = used["bcd up"] / used["by hand"]
    print(f"That is {times:.2f} times the processor time (at most {MOST_TIMES}) and"
          f" {memory['bcd up'] / 1e9:.2f} GB (less than {MOST_GIGABYTES}).")  # fmt: skip
    print(
        f"Prefect's database grows by {grown / 1e6:.1f} MB a day, by what it grew in {minutes:g} minutes.", flush=True
    )
    return times > MOST_TIMES or memory["bcd up"] > 1e9 * MOST_GIGABYTES


@contextmanager
def serve_by_hand(home: Path) -> Iterator[list[psutil.Process]]:
    """Runs a Prefect server, an MLflow server of one process and a worker, with their own defaults, on SQLite."""
    home.mkdir()
    prefect, mlflow = find_free_ports(2)
    api = f"http://127.0.0.1:{prefect}/api"
    environment = os.environ | {"PREFECT_HOME": str(home / "prefect"), "DO_NOT_TRACK": "1", "PREFECT_API_URL": api,
                                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # fmt: skip
    commands: list[list[str | Path]] = [
        [BIN / "prefect", "server", "start", "--port", str(prefect)],
        [BIN / "mlflow", "server", "--port", str(mlflow), "--workers", "1", "--backend-store-uri",
         f"sqlite:///{home / 'mlflow.db'}", "--artifacts-destination", home / "artifacts"],
        [BIN / "prefect", "worker", "start", "--pool", "by-hand", "--type", "process"],
    ]  # fmt: skip
    started: list[psutil.Process] = []
    try:
        for command in commands:
            with (home / "log").open("ab") as log:
                process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home)
            started.append(psutil.Process(process.pid))
            if command[1] == "server":
                await_health(prefect if command[0] == BIN / "prefect" else mlflow)
        yield started
    finally:
        for each in tree(started):
            with suppress(psutil.NoSuchProcess):
                each.kill()


def await_health(port: int) -> None:
    """Waits until a server answers."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for page in ("/api/health", "/health"):
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}{page}", timeout=2).is_success:
                    return
        time.sleep(0.5)
    raise SystemExit(f"Nothing answers at port {port}.")


def find_processes(home: Path) -> list[psutil.Process]:
    """Returns the processes that `bcd up` started on a home, without what they started themselves."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("UP_OF_BCD_HOME") == str(home):
                found.append(process)
    assert found, f"Nothing runs on {home}."
    return found


def tree(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Returns processes with all that they started, each once."""
    found: dict[int, psutil.Process] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for each in (process, *process.children(recursive=True)):
                found[each.pid] = each
    return [each for each in found.values() if each.is_running()]


def processor_seconds(processes: list[psutil.Process]) -> float:
    """Returns the processor time of processes and of all that they started and that has ended."""
    total = 0.0
    for each in tree(processes):
        with suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:4])
    return total


def database_bytes(path: Path) -> int:
    """Returns the size of an SQLite database, once all that was written is taken into it."""
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("PRAGMA wal_checkpoint(FULL)")
    return path.stat().st_size


def tell_inbox(folder: Path, deliveries: int) -> bool:
    """Prints how soon deliveries are admitted; returns whether one waited too long."""
    from bcd.store.delivery_queries import list_stored_deliveries

    home = make_empty_home(folder / "inbox")
    options = HospitalOptions(patients=3 * deliveries + 3, large_patients=0, small_patches=12)
    waited = []
    with open_store(load_settings(home)) as store:
        declare_hospital(store, HOSPITAL, "pseudonyms", SignOff("benchmarks/orchestration.py", "benchmark"))
    with serve(home) as settings, open_store(settings) as store:
        size = database_bytes(settings.prefect / "prefect.db")
        for number in range(deliveries):
            made = draw_hospital(options.model_copy(update={"seed": 100 + number}), folder / f"delivery-{number}")[0]
            known = len(list_stored_deliveries(store))
            place = settings.inbox / HOSPITAL
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(made, place / f"{number}.zip.part")
            (place / f"{number}.zip.part").rename(place / f"{number}.zip")
            began = time.perf_counter()
            while len(list_stored_deliveries(store)) == known:
                time.sleep(0.2)
            waited.append(time.perf_counter() - began - QUIET)
        time.sleep(5)  # their runs end
        grown = (database_bytes(settings.prefect / "prefect.db") - size) / deliveries
    shown = ", ".join(f"{seconds:.1f}" for seconds in waited)
    print(
        f"\nA delivery is admitted {shown} s after it landed and {QUIET:g} s of quiet (less than {MOST_SECONDS:g})."
    )
    print(f"Prefect's database grows by {grown / 1e3:.0f} kB a delivery.", flush=True)
    return max(waited) > MOST_SECONDS


if __name__ == "__main__":
    sys.exit(main())
