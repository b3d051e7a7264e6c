"""`kill -9` at random moments and at random steps of an admission: the same command again ends as if undisturbed."""

from __future__ import annotations

import logging
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from admitting import PHASES, Marks, admit_once
from delivering import patch_files, picture, write_folder, write_zip
from leftovers import State, differences, opened, read_state

from bcd.admission.admit import admit
from bcd.files import _MACHINE as MACHINE
from bcd.patches import Hospital
from bcd.settings import Settings

EAST = Hospital("east")

MUST_BE_HIT = {"examine", "settle", "batch", "quarantine", "transaction", "committed"}


def _files() -> dict[str, bytes]:
    """A delivery of good patches, some that an earlier one holds or contradicts, and edge pieces."""
    edges = {f"new/1/new_idx5_x{1 + 50 * place}_y901_class1.png": picture(place, width=42) for place in range(12)}
    contradicting = {"old/1/old_idx5_x1_y1_class1.png": picture(0), "old/0/old_idx5_x951_y51_class0.png": picture(3)}
    return {**patch_files("new", range(100, 300)), **patch_files("old", range(2, 8)), **contradicting, **edges}


class Victim:
    """A process that admits a delivery of the inbox."""

    def __init__(self, processes: Any, settings: Settings, path: Path, die_at: int = 0) -> None:
        self.marks = Marks(processes)
        self._answer, answer = processes.Pipe(duplex=False)
        self._process = processes.Process(
            target=admit_once, args=(settings, path, self.marks, answer), kwargs={"die_at": die_at}, daemon=True
        )
        self._process.start()

    def kill(self, phase: str, seconds: float) -> None:
        """Kills it so long after a phase began."""
        while not self.marks.began(phase) and self._process.is_alive():
            time.sleep(0.0005)
        time.sleep(max(0.0, self.marks.began(phase) + seconds - time.monotonic()))
        self._process.kill()

    def wait(self) -> bool:
        """Waits for its end and returns whether it was killed."""
        self._process.join(60)
        assert self._process.exitcode in {0, -signal.SIGKILL}
        return bool(self._process.exitcode)


@dataclass
class Undisturbed:
    """An admission that was left alone: how far it was when, and what it left."""

    marks: Marks
    state: State

    def moment(self, part: float) -> tuple[str, float]:
        """Returns the phase in which a part of the time since "examine" lies, and the seconds since that began."""
        first, last = self.marks.began("examine"), self.marks.began("done")
        moment = first + part * (last - first)
        phase = max((phase for phase in PHASES if self.marks.began(phase) <= moment), key=PHASES.index)
        return phase, moment - self.marks.began(phase)

    def step(self, part: float) -> int:
        """Returns the step that lies at a part of the steps since "examine"."""
        first, last = self.marks.steps_before("examine"), self.marks.steps[-1]
        return first + 1 + int(part * (last - first))


@dataclass
class Case:
    """Kills one admission after the other, each in a home of its own."""

    processes: Any
    copy_home: Callable[[str], Settings]
    container: str
    after_admission: str

    def start(self, name: str, die_at: int = 0) -> tuple[Settings, Path, Victim]:
        settings = self.copy_home(name).model_copy(update={"after_admission": self.after_admission})
        path = self.deliver(settings)
        return settings, path, Victim(self.processes, settings, path, die_at)

    def deliver(self, settings: Settings) -> Path:
        write = {"zip": write_zip, "folder": write_folder}[self.container]
        return write(settings.inbox / EAST / f"delivery.{self.container}", _files())

    def leave_alone(self) -> Undisturbed:
        settings, _, process = self.start("undisturbed")
        assert not process.wait()
        assert process.marks.phase == "done"
        return Undisturbed(process.marks, read_state(settings))

    def kill(self, name: str, expected: Undisturbed, *, at: int | tuple[str, float]) -> str:
        """Kills an admission at a step or a moment, runs it again, and returns the phase that was hit."""
        settings, path, victim = self.start(name, at if isinstance(at, int) else 0)
        if not isinstance(at, int):
            victim.kill(*at)
        killed = victim.wait()
        if self.after_admission == "delete" and not path.exists():
            self.deliver(settings)  # the hospital hands it over again
        if path.exists():
            with opened(settings) as store:
                admit(store, path, EAST)
        assert differences(read_state(settings), expected.state) == [], victim.marks.phase
        return victim.marks.phase if killed else "too late"


def test_killed_at_any_moment_and_run_again_it_ends_as_if_undisturbed(
    processes: Any, copy_home: Callable[[str], Settings], full_size: bool
) -> None:
    case = Case(processes, copy_home, "zip", "move")
    expected = case.leave_alone()
    chance = random.Random(7)
    hits: Counter[str] = Counter()
    kills = 50 if full_size else 6
    while sum(hits[phase] for phase in PHASES) < kills:
        number = hits.total()
        part = (number % kills + chance.random()) / kills  # spread over the whole admission
        at = expected.step(part) if number % 2 else expected.moment(part)
        hits[case.kill(f"killed-{number}", expected, at=at)] += 1
    for phase in MUST_BE_HIT - {"examine"} if full_size else []:  # however short it is
        hits[case.kill(f"killed-in-{phase}", expected, at=expected.marks.steps_before(phase) + 1)] += 1
    logging.getLogger(__name__).info("kill -9 hit %s", dict(hits))
    if full_size:
        assert hits.keys() >= MUST_BE_HIT


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_killed_while_the_delivery_is_deleted_it_is_not_taken_for_another_one(
    processes: Any, copy_home: Callable[[str], Settings], full_size: bool
) -> None:
    case = Case(processes, copy_home, "folder", "delete")
    expected = case.leave_alone()
    first, last = expected.marks.steps_before("leave") + 1, expected.marks.steps[-1]
    for step in {first, first + 1, first + 2, (first + last) // 2, last}:
        assert case.kill(f"at-step-{step}", expected, at=step) == "leave"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_note_that_was_half_written_when_its_process_was_killed_stops_nobody(
    copy_home: Callable[[str], Settings], tmp_path: Path
) -> None:
    """Regression: the note was read as if it were whole, and no delivery was admitted from then on."""
    settings = copy_home("home")
    never_alive = (1 << 22) + 1
    note = settings.batches.parent / "unsettled" / f".partial-{MACHINE}-{never_alive}-x.json"
    note.write_text("")
    with opened(settings) as store:
        admit(store, write_zip(tmp_path / "next.zip", patch_files("new", range(100, 104))), EAST)
    assert not note.exists()
