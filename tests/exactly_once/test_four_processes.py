"""Several processes admit deliveries that overlap and contradict each other: it ends as one after the other.

The order in which they were settled is read from the catalog, and the same deliveries are admitted in that order by
one process: both must leave the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from admitting import admit_all, take_inbox
from delivering import picture, write_folder, write_zip
from leftovers import differences, opened, read_state

from bcd.admission.admit import admit
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store import tables

EAST = Hospital("east")


def _draw_delivery(chance: random.Random, number: int) -> dict[str, bytes]:
    """Draws patches from so few patients, places and pictures that deliveries overlap and contradict each other."""
    files = {f"alone{number}_idx5_x1_y1_class0.png": picture(1000 + number), "notes.txt": b"dear colleague"}
    for what in chance.sample(range(16), 10):
        right = what % 2
        label = chance.choices([f"_class{right}", "", f"_class{1 - right}"], [5, 4, 1])[0]
        seen = 500 + chance.choices([what, what ^ 1, what ^ 2], [8, 1, 1])[0]
        files[f"{'ab'[right]}_idx5_x{1 + 50 * (what // 2)}_y1{label}.png"] = picture(seen)
    return files


@pytest.fixture
def drawn(full_size: bool) -> list[list[dict[str, bytes]]]:
    """For each process the deliveries that it admits; the last one is the first one of another process."""
    workers, each = (8, 6) if full_size else (4, 2)
    chance = random.Random(3)
    deliveries = [[_draw_delivery(chance, worker * each + one) for one in range(each)] for worker in range(workers)]
    return [[*mine, deliveries[worker - 1][0]] for worker, mine in enumerate(deliveries)]


def _settled_order(settings: Settings) -> list[str]:
    """Returns the names of the deliveries in the order in which they were settled, without the first home's."""
    query = sa.select(tables.deliveries.c.name).order_by(tables.deliveries.c.admitted_at)
    with opened(settings) as store, store.read() as connection:
        return list(connection.scalars(query))[1:]


def _run_at_once(
    processes: Any, function: Callable[..., None], arguments: list[tuple[Any, ...]], disturb: Callable[[], None]
) -> list[Any]:
    start = processes.Barrier(len(arguments) + 1)
    pipes = [processes.Pipe(duplex=False) for _ in arguments]
    workers = [
        processes.Process(target=function, args=(*mine, start, answer), daemon=True)
        for mine, (_, answer) in zip(arguments, pipes, strict=True)
    ]
    for worker in workers:
        worker.start()
    start.wait()
    disturb()
    answers = [heard.recv() if heard.poll(120) else "no answer" for heard, _ in pipes]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
    return answers


def _admit_one_by_one(settings: Settings, paths: list[Path]) -> None:
    with opened(settings) as store:
        for path in paths:
            admit(store, path, EAST)


def _leave_alone() -> None:
    pass


def _admit_at_once(
    processes: Any,
    copy_home: Callable[[str], Settings],
    drawn: list[list[dict[str, bytes]]],
    tmp_path: Path,
    disturb: Callable[[], None],
) -> None:
    """Admits at once and one after the other, and compares."""
    settings = copy_home("at-once")
    paths = [
        [write_zip(tmp_path / f"{worker}-{number}.zip", files) for number, files in enumerate(mine)]
        for worker, mine in enumerate(drawn)
    ]
    answers = _run_at_once(processes, admit_all, [(settings, mine) for mine in paths], disturb)
    outcomes = [outcome for answer in answers for _, outcome in answer]
    assert set(outcomes) <= {"True", "False"}
    order = _settled_order(settings)
    assert len(order) == sum(len(mine) - 1 for mine in drawn)
    assert len({name.split("-")[0] for name in order[: len(drawn)]}) > 1  # they did run at once

    after_each_other = copy_home("after-each-other")
    _admit_one_by_one(after_each_other, [tmp_path / name for name in order])
    expected = read_state(after_each_other)
    assert expected["conflicts"]
    assert expected["label_revisions"]
    assert differences(read_state(settings), expected) == []


def test_processes_that_admit_overlapping_deliveries_at_once_end_as_one_after_the_other(
    processes: Any, copy_home: Callable[[str], Settings], drawn: list[list[dict[str, bytes]]], tmp_path: Path
) -> None:
    _admit_at_once(processes, copy_home, drawn, tmp_path, _leave_alone)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_so_they_do_where_the_server_is_started_anew_meanwhile(
    *,
    processes: Any,
    copy_home: Callable[[str], Settings],
    drawn: list[list[dict[str, bytes]]],
    tmp_path: Path,
    postgres: Any,
    full_size: bool,
) -> None:
    def restart() -> None:
        for pause in (0.1, 0.6, 0.9, 1.2, 0.4) if full_size else (0.3, 0.8):
            time.sleep(pause)
            postgres.stop()
            postgres.start()

    _admit_at_once(processes, copy_home, drawn, tmp_path, restart)


@pytest.mark.parametrize("container", ["zip", "folder"])
def test_processes_that_take_the_same_inbox_admit_each_delivery_once(
    *,
    processes: Any,
    copy_home: Callable[[str], Settings],
    drawn: list[list[dict[str, bytes]]],
    container: str,
) -> None:
    write = {"zip": write_zip, "folder": write_folder}[container]
    homes = [copy_home(name).model_copy(update={"inbox_quiet_seconds": 0.0}) for name in ("at-once", "one")]
    for settings in homes:
        for number, (files, *_) in enumerate(drawn):
            write(settings.inbox / EAST / f"{number}", files)
    settings, one = homes
    answers = _run_at_once(processes, take_inbox, [(settings,)] * len(drawn), _leave_alone)
    outcomes = [outcome for answer in answers for _, outcome in answer]
    assert outcomes.count("False") == len(drawn)
    assert set(outcomes) <= {"False", "UnavailableError"}  # nobody read what another one was moving
    _admit_one_by_one(one, [one.inbox / EAST / name for name in _settled_order(settings)])
    assert differences(read_state(settings), read_state(one)) == []
