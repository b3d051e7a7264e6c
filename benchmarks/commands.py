"""How soon the commands answer that people type all day, beside the time that Python itself takes to start.

    .venv/bin/python benchmarks/commands.py                    # on a home of its own, with two deliveries, no model
    .venv/bin/python benchmarks/commands.py --home FOLDER      # on yours, which is read only

Each command has a process of its own, and they take turns with `python -c pass`. A machine that others use slows them
alike, so each is also given as processor time and as a multiple of Python's start, which does not follow the load.
The limits hold on two quiet cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bcd.store.sign_off import SignOff

LIMITS = {
    "status": 1.5,
    "model history": 1.5,
    "snapshot list": 1.5,
    "batch list": 1.5,
    "patient list": 1.5,
    "doctor": 3.0,
}
"""Seconds."""

WITH_CHAMPION = 6.0
"""Seconds that `doctor` may take where there is a champion, which it loads."""


def main() -> int:
    """Prints the table and returns 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="a home to read (default: one made for this)")
    parser.add_argument("--turns", type=int, default=5, help="of each command (default 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bcd-commands-") as folder:
        home = arguments.home or _make_home(Path(folder))
        limits = LIMITS | ({"doctor": WITH_CHAMPION} if _has_champion(home) else {})
        return _compare(home, limits, arguments.turns)


def _compare(home: Path, limits: dict[str, float], turns: int) -> int:
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {turns} turns, medians")
    start = [sys.executable, "-c", "pass"]
    commands = {name: [sys.executable, "-m", "bcd.cli.main", "--home", str(home), *name.split()] for name in limits}
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ["python -c pass", *commands]}
    for _ in range(turns):
        took["python -c pass"].append(_time(start))
        for name, command in commands.items():
            took[name].append(_time(command))
    base = median(seconds for seconds, _ in took["python -c pass"])
    print(f"{'command':<16}{'seconds':>9}{'processor':>11}{'x python':>10}{'limit':>8}{'share of it':>13}")
    missed = 0
    for name, measured in took.items():
        seconds, processor = (median(column) for column in zip(*measured, strict=True))
        limit = limits.get(name)
        share = "" if limit is None else f"{seconds / limit:.2f}"
        shown = "" if limit is None else f"{limit:.1f}"
        print(f"{name:<16}{seconds:>9.2f}{processor:>11.2f}{seconds / base:>10.0f}{shown:>8}{share:>13}")
        missed += limit is not None and seconds > limit
    return int(missed > 0)


def _time(command: list[str]) -> tuple[float, float]:
    """Returns the seconds that a command took, and those of them that a processor worked."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 1}:  # 1: the doctor found a fault
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _has_champion(home: Path) -> bool:
    from bcd.bundle.rows import read_registered_versions
    from bcd.settings import load_settings

    return any("champion" in row.aliases for row in read_registered_versions(load_settings(home)))


def _make_home(folder: Path) -> Path:
    """Makes a home with two admitted deliveries and a frozen snapshot."""
    from bcd.admission.admit import admit
    from bcd.patches import Hospital
    from bcd.settings import load_settings
    from bcd.snapshots.freeze import freeze_snapshot
    from bcd.snapshots.options import SplitOptions
    from bcd.store.hospitals import declare_hospital
    from bcd.store.store import open_store
    from bcd.synthetic.hospital import draw_hospital
    from bcd.synthetic.options import HospitalOptions

    settings = load_settings(folder / "home")
    store = open_store(settings)
    declare_hospital(store, "north", "pseudonyms", SignOff("benchmark", "test"))
    for delivery in draw_hospital(HospitalOptions(patients=60, large_patients=0), folder / "deliveries"):
        admit(store, delivery, Hospital("north"))
    freeze_snapshot(store, SplitOptions())
    return settings.home


if __name__ == "__main__":
    sys.exit(main())
