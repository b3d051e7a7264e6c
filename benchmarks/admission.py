"""How fast and in how much memory deliveries of patches are admitted, and where the time goes.

    .venv/bin/python benchmarks/admission.py                                    # speed, with 27,752 patches
    .venv/bin/python benchmarks/admission.py --size                             # then time and memory up to 277,524
    .venv/bin/python benchmarks/admission.py --memory 100000 300000 1000000      # memory alone, of tiny patches
    .venv/bin/python benchmarks/admission.py --real FOLDER --scratch FOLDER --keep

Speed is given as a share of the decode limit: OpenCV decoding the same bytes from memory in as many threads as there
are cores, and nothing else. The founding script's way is a pool of processes that read, decode and sharpen each file,
and one array that is pickled. An admission is everything: hashes, rules, catalog and store, into a new BCD_HOME.
Each measurement has a process of its own, and they take turns. A machine that others use slows them alike, so each is
compared with the limit as it was just before and just after, by time and by processor time.

Size: an admission from a zip at a tenth of the size and at the size, in turns, and then, of what was admitted, the
freezing, opening and preparing of a snapshot. Memory is the process's own (RssAnon): mapped files do not count.

Memory: admissions of tiny patches from zips, the bytes that a patch more takes, and what 3 million would.

The files were read before, so that the speed of the disk they lie on is not measured; that of writing is.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median

import made_patches
from admission_measures import Run, run
from snapshots import STEPS

LEAST_SHARE, AIM = 0.4, 0.6
CLOCKS = ("seconds", "processor")
MOST_MEMORY = 1024
"""MB."""
MANY, MOST_OF_MANY = 3_000_000, 600
"""Patches, and the MB that they may take."""
MOST_BEND = 0.15
"""By how much a patch may take longer at the size than at a tenth of it."""


def main() -> int:
    """Prints the tables and returns 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=27_752, help="for the tables of speed (default 27,752)")
    parser.add_argument("--turns", type=int, default=5, help="of each measurement of speed (default 5)")
    parser.add_argument("--size", type=int, nargs="?", const=277_524, help="measure up to this size too (277,524)")
    parser.add_argument("--size-turns", type=int, default=3, help="of each measurement of size (default 3)")
    parser.add_argument(
        "--memory", type=int, nargs="+", help="measure the memory of so many tiny patches, and no more"
    )
    parser.add_argument("--real", type=Path, help="folder of zips of real patches to make others of")
    parser.add_argument("--scratch", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="keep the deliveries in --scratch for the next run")
    arguments = parser.parse_args()
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)
    _print_load()
    with _scratch(arguments.scratch, keep=arguments.keep) as scratch:
        if arguments.memory:
            is_met = measure_memory(scratch, sorted(arguments.memory))
        else:
            is_met = compare_speed(scratch, arguments.real, arguments.patches, arguments.turns)
        if arguments.size:
            is_met &= measure_size(scratch, arguments.real, arguments.size, arguments.size_turns)
    _print_load()
    return int(not is_met)


def _print_load() -> None:
    """Says how many processes want a core, those of others too: the speeds, and less so the ratios, depend on it."""
    print(
        f"{os.cpu_count()} cores; processes that want one, in the last minute: {os.getloadavg()[0]:.1f}", flush=True
    )


@contextmanager
def _scratch(folder: Path | None, *, keep: bool) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if folder is not None and keep:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="bcd-benchmark-", dir=folder) as temporary:
        yield Path(temporary)


def make_zip(scratch: Path, real: Path | None, patches: int) -> Path:
    """Makes a delivery in scratch, unless it is there from an earlier run."""
    path = scratch / f"{'turned' if real else 'drawn'}-{patches}.zip"
    if not path.exists():
        started = time.perf_counter()
        base = made_patches.read_base(real) if real else made_patches.draw_base(patches)
        made_patches.write_zip(path, base, patches)
        print(f"Made {path.name}, {path.stat().st_size / 1e6:,.0f} MB, in {time.perf_counter() - started:.0f} s.")
    return path


def compare_speed(scratch: Path, real: Path | None, patches: int, turns: int) -> bool:
    """Prints speeds, ratios and stages; returns whether the limits are met."""
    archive = make_zip(scratch, real, patches)
    folder = archive.with_suffix("")
    if not folder.exists():
        made_patches.unpack(archive, folder)
    ways = {"zip": ("admit", archive), "folder": ("admit", folder), "founding": ("founding", folder)}
    limits, runs = _take_turns(archive, ways, scratch, turns)
    _check_admitted([*runs["zip"], *runs["folder"]], patches)
    _print_speed(limits, runs, patches)
    for name in ("zip", "folder"):
        _print_stages(run("stages", ways[name][1], scratch), name, patches)
    return _check_speed(runs)


def _take_turns(
    archive: Path, ways: dict[str, tuple[str, Path]], scratch: Path, turns: int
) -> tuple[list[Run], dict[str, list[Run]]]:
    """Measures each way in turn, the limit before and after it, of which it has a share on either clock."""
    limits = [run("limit", archive, scratch)]
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, (kind, delivery) in ways.items():
            one = run(kind, delivery, scratch)
            limits.append(run("limit", archive, scratch))
            shares = {clock: mean(limit[clock] for limit in limits[-2:]) / one[clock] for clock in CLOCKS}
            runs[name].append(one | {"share": shares})
    return limits, runs


def _check_admitted(runs: Sequence[Run], patches: int) -> None:
    for one in runs:
        if one["admitted"] != patches:
            raise SystemExit(f"{one['admitted']:,} of {patches:,} patches were admitted: nothing here is comparable.")


def _print_speed(limits: Sequence[Run], runs: dict[str, list[Run]], patches: int) -> None:
    print(f"\n{patches:,} patches, {len(runs['zip'])} turns: median (least to most)")
    print(f"{'':9s}{'patches/s':>26s}{'share of the limit':>22s}{'of processor time':>22s}{'µs a patch':>12s}")
    for name, taken in {"limit": limits, **runs}.items():
        rates = _spread([patches / one["seconds"] for one in taken], ",.0f")
        shares = [_spread([one["share"][clock] for one in taken if "share" in one] or [1], ".2f") for clock in CLOCKS]
        used = median(one["processor"] for one in taken) / patches * 1e6
        print(f"{name:9s}{rates:>26s}{shares[0]:>22s}{shares[1]:>22s}{used:12.1f}")


def _check_speed(runs: dict[str, list[Run]]) -> bool:
    is_met = True
    print()
    for name in ("zip", "folder"):
        shares = {way: [one["share"]["seconds"] for one in runs[way]] for way in (name, "founding")}
        share = median(shares[name])
        ahead = [ours / theirs for ours, theirs in zip(shares[name], shares["founding"], strict=True)]
        passed = share >= LEAST_SHARE and median(ahead) > 1
        is_met &= passed
        print(
            f"{name:7s} share {share:.2f}, at least {LEAST_SHARE}, aim {AIM};"
            f" over the founding way's {_spread(ahead, '.2f')}, above 1: {_verdict(passed)}"
        )
    return is_met


def _spread(values: Sequence[float], form: str) -> str:
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _verdict(passed: bool) -> str:
    return "ok" if passed else "MISSED"


def _print_stages(timed: Run, name: str, patches: int) -> None:
    """Prints the own time of every stage over all threads, and what the cores did not do."""
    print(f"\n{f'From a {name}, µs a patch':36s}{'processor':>11s}{'share':>8s}{'waiting':>10s}")
    total = timed["processor"]
    idle = timed["seconds"] * (os.cpu_count() or 1) - total
    outside = total - sum(processor for processor, _ in timed["stages"].values())
    rows = {**timed["stages"], "outside the timers": (outside, 0.0), "all; cores idle or at others": (total, idle)}
    for stage, (processor, waiting) in rows.items():
        used, waited = processor / patches * 1e6, waiting / patches * 1e6
        print(f"  {stage:34s}{used:11.1f}{processor / total:8.1%}{waited:10.1f}")


def measure_size(scratch: Path, real: Path | None, size: int, turns: int) -> bool:
    """Prints time and memory at a tenth of a size and at the size; returns whether the limits are met."""
    sizes = (size // 10, size)
    zips = {patches: make_zip(scratch, real, patches) for patches in sizes}
    runs: dict[int, list[Run]] = {patches: [] for patches in sizes}
    print(f"\n{'patches':>10s}{'step':>9s}{'seconds':>25s}{'patches/s':>11s}{'before MB':>11s}{'peak MB':>9s}")
    with tempfile.TemporaryDirectory(dir=scratch) as homes:
        for turn in range(turns):
            for patches in sizes:
                home = Path(homes) / f"{patches}" if turn == turns - 1 else None
                runs[patches].append(run("memory", zips[patches], scratch, home))
        for patches in sizes:
            _check_admitted(runs[patches], patches)
            _print_step(patches, "admit", runs[patches])
            for step in STEPS:
                _print_step(patches, step, [run(step, zips[patches], scratch, Path(homes) / f"{patches}")])
    return _check_size(runs)


def measure_memory(scratch: Path, sizes: Sequence[int]) -> bool:
    """Prints the peak memory of admissions of tiny patches; returns whether MANY would stay below their limit."""
    peaks = []
    print(f"\n{'patches':>10s}{'seconds':>10s}{'before MB':>11s}{'peak MB':>9s}{'with mapped files MB':>22s}")
    for patches in sizes:
        path = scratch / f"tiny-{patches}.zip"
        made_patches.write_tiny_zip(path, patches)
        taken = run("memory", path, scratch)
        path.unlink()
        _check_admitted([taken], patches)
        peaks.append(taken["peak"])
        memory = f"{taken['before']:11,.0f}{taken['peak']:9,.0f}{taken['resident']:22,.0f}"
        print(f"{patches:10,d}{taken['seconds']:10.1f}{memory}")
    grown = (peaks[-1] - peaks[-2]) / (sizes[-1] - sizes[-2])
    expected = peaks[-1] + grown * (MANY - sizes[-1])
    is_met: bool = expected < MOST_OF_MANY
    print(f"between the last two a patch takes {grown * 2**20:,.0f} bytes", end="; ")
    print(f"{MANY:,} would take {expected:,.0f} MB, below {MOST_OF_MANY}: {_verdict(is_met)}")
    return is_met


def _print_step(patches: int, step: str, runs: Sequence[Run]) -> None:
    seconds = [one["seconds"] for one in runs]
    before, peak = (max(one[key] for one in runs) for key in ("before", "peak"))
    print(
        f"{patches:10,d}{step:>9s}{_spread(seconds, '.2f'):>25s}{patches / median(seconds):11,.0f}"
        f"{before:11,.0f}{peak:9,.0f}"
    )


def _check_size(runs: dict[int, list[Run]]) -> bool:
    (few, small), (many, large) = runs.items()
    times = [big["seconds"] / many / (tenth["seconds"] / few) for tenth, big in zip(small, large, strict=True)]
    used = [big["processor"] / many / (tenth["processor"] / few) for tenth, big in zip(small, large, strict=True)]
    peaks = [max(one["peak"] for one in each) for each in (small, large)]
    grown = (peaks[1] - peaks[0]) * 2**20 / (many - few)
    is_linear, is_small = median(times) <= 1 + MOST_BEND, peaks[1] < MOST_MEMORY
    print(f"a patch takes {_spread(times, '.2f')} times as long, at most {1 + MOST_BEND}: {_verdict(is_linear)}")
    print(f"              {_spread(used, '.2f')} times the processor time")
    print(
        f"peak {peaks[1]:,.0f} MB, below {MOST_MEMORY:,}: {_verdict(is_small)}; grown by {grown:,.0f} bytes a patch"
    )
    return bool(is_linear and is_small)


if __name__ == "__main__":
    raise SystemExit(main())
