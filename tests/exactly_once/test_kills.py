"""`kill -9` at random moments and at random steps of an admission: the same command again ends as if undisturbed."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from admitting import PHASES, STEPS, admit_once
from delivering import patch_files, picture, write_folder, write_zip
from leftovers import State, differences, opened, read_state

from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import Settings

EAST = Hospital("east")

MUST_BE_HIT = {"examine", "batch", "quarantine", "transaction", "committed"}


def _files() -> dict[str, bytes]:
    """A delivery with good patches, some that an earlier one holds or contradicts, and refused files."""
    edges = {f"new/1/new_idx5_x{1 + 50 * place}_y901_class1.png": picture(place, width=42) for place in range(12)}
    contradicting = {"old/1/old_idx5_x1_y1_class1.png": picture(0), "old/0/old_idx5_x51_y1_class1.png": picture(4)}
    return {**patch_files("new", range(100, 300)), **patch_files("old", range(4, 8)), **contradicting, **edges}


def _deliver(settings: Settings, container: str) -> Path:
    write = {"zip": write_zip, "folder": write_folder}[container]
    return write(settings.inbox / EAST / f"delivery.{container}", _files())


@dataclass
class Undisturbed:
    """An admission that was left alone: what it left, how many steps and seconds it took."""

    state: State
    steps: int
    seconds: dict[str, float]


class Victim:
    """A process that admits a delivery of the inbox."""

    def __init__(self, processes: Any, settings: Settings, path: Path, die_at: int = 0) -> None:
        self.marks = processes.RawArray("d", STEPS + 1)
        self._answer, answer = processes.Pipe(duplex=False)
        self.process = processes.Process(
            target=admit_once, args=(settings, path, self.marks, answer), kwargs={"die_at": die_at}, daemon=True
        )
        self.process.start()

    def kill_after(self, seconds: float) -> None:
        while not self.marks[0] and self.process.is_alive():
            time.sleep(0.0005)
        time.sleep(max(0.0, self.marks[0] + seconds - time.monotonic()))
        self.process.kill()

    def wait(self) -> str:
        """Waits for its end and returns the phase that it was in by then."""
        self.process.join(60)
        assert self.process.exitcode in {0, -signal.SIGKILL}
        return [phase for phase, mark in zip(PHASES, self.marks, strict=False) if mark][-1]


def _leave_alone(processes: Any, settings: Settings, container: str) -> Undisturbed:
    victim = Victim(processes, settings, _deliver(settings, container))
    assert victim.wait() == "done"
    began = dict(zip(PHASES, victim.marks, strict=False))
    assert all(began.values()), began
    seconds = {before: began[after] - began[before] for before, after in pairwise(PHASES)}
    return Undisturbed(read_state(settings), int(victim.marks[STEPS]), seconds)


def test_killed_at_any_moment_and_run_again_it_ends_as_if_undisturbed(
    *, processes: Any, copy_home: Callable[[str], Settings], full_size: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = _leave_alone(processes, copy_home("undisturbed"), "zip")
    kills = 50 if full_size else 6
    chance = random.Random(7)
    total = sum(expected.seconds.values())
    hit: Counter[str] = Counter()
    for number in range(kills):
        settings = copy_home(f"killed-{number}")
        path = _deliver(settings, "zip")
        part = (number // 2 + chance.random()) / (kills / 2)  # spread over the whole admission
        if number % 2:
            victim = Victim(processes, settings, path)
            victim.kill_after(part * total)
        else:
            victim = Victim(processes, settings, path, die_at=1 + int(part * expected.steps))
        hit[victim.wait()] += 1
        if path.exists():
            with opened(settings) as catalog:
                admit(settings, catalog, path, EAST)
        assert differences(read_state(settings), expected.state) == []
    print(dict(hit), expected.steps, expected.seconds)
