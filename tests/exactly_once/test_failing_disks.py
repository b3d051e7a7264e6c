"""A disk that is full or cannot be written: it is told, nothing is half done, the same command completes it."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from admitting import Marks, admit_once
from delivering import patch_files, picture, write_tar_gz, write_zip
from leftovers import State, differences, opened, read_state

from bcd.admission.admit import admit
from bcd.errors import UnavailableError
from bcd.patches import Hospital
from bcd.settings import Settings

EAST = Hospital("east")


def _deliver(settings: Settings, container: str = "zip") -> Path:
    """Puts a delivery into the inbox: 40 new patches, some known ones, some edge pieces."""
    edges = {f"new/1/new_idx5_x{1 + 50 * place}_y901_class1.png": picture(place, width=42) for place in range(3)}
    files = {**patch_files("new", range(100, 140)), **patch_files("old", range(6, 8)), **edges}
    write = {"zip": write_zip, "tar.gz": write_tar_gz}[container]
    return write(settings.inbox / EAST / f"delivery.{container}", files)


def _admit(settings: Settings) -> None:
    [path] = (settings.inbox / EAST).iterdir()
    with opened(settings) as store:
        admit(store, path, EAST)


def _admit_apart(processes: Any, settings: Settings, path: Path, **faults: int) -> tuple[Marks, str, str]:
    """Admits in a process of its own and returns how far it came, the kind of outcome, and its text."""
    marks = Marks(processes)
    heard, answer = processes.Pipe(duplex=False)
    process = processes.Process(target=admit_once, args=(settings, path, marks, answer), kwargs=faults, daemon=True)
    process.start()
    assert heard.poll(60)
    kind, text = heard.recv()
    process.join(60)
    return marks, kind, text


@pytest.fixture
def undisturbed(copy_home: Callable[[str], Settings]) -> State:
    settings = copy_home("undisturbed")
    _deliver(settings)
    _admit(settings)
    return read_state(settings)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("fault", "container", "told"),
    [(errno.ENOSPC, "tar.gz", "is full"), (errno.EROFS, "zip", "Read-only file system")],
)
def test_a_disk_that_fails_at_any_step_is_told_and_nothing_is_half_done(
    *, processes: Any, copy_home: Callable[[str], Settings], full_size: bool, fault: int, container: str, told: str
) -> None:
    left_alone = copy_home("undisturbed")
    marks, kind, text = _admit_apart(processes, left_alone, _deliver(left_alone, container))
    assert kind == "admitted", text
    expected = read_state(left_alone)
    steps = range(marks.steps_before("examine") - 4, marks.steps[-1] + 1)
    for step in steps if full_size else steps[::15]:
        settings = copy_home(f"fails-at-{step}")
        path = _deliver(settings, container)
        before = read_state(settings)
        marks, kind, text = _admit_apart(processes, settings, path, fail_at=step, fault=fault)
        if kind != "admitted":
            assert kind == "UnavailableError"
            if marks.began("committed"):
                assert path.name in text
            else:
                assert told in text
            # What cannot be written cannot be tidied either.
            if fault == errno.ENOSPC and not marks.began("committed"):
                assert differences(read_state(settings), before) == []
        if path.exists():
            _admit(settings)
        assert differences(read_state(settings), expected) == [], step


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Mounts a disk of its own at `tmp_path / "disk"`; what is called with a number sets the KiB that are free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")

    def leave_free(kilobytes: int) -> None:
        state = os.statvfs(disk)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        subprocess.run(["mount", "-o", f"remount,size={used // 1024 + kilobytes}k", disk], check=True)

    yield leave_free
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_on_a_disk_that_is_really_full_nothing_is_lost(
    *, copy_home: Callable[[str], Settings], undisturbed: State, small_disk: Callable[[int], None], full_size: bool
) -> None:
    settings = copy_home("disk/home")
    _deliver(settings)
    before = read_state(settings)
    told = []
    for kilobytes in range(0, 2048, 16 if full_size else 96):
        small_disk(kilobytes)
        try:
            _admit(settings)
            break
        except UnavailableError as error:
            told.append(error.what)
        small_disk(4096)  # to look at it, SQLite needs some room
        assert differences(read_state(settings), before) == []
    assert len(told) > 5
    assert differences(read_state(settings), undisturbed) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_catalog_that_is_full_is_told_and_leaves_no_batch_behind(
    copy_home: Callable[[str], Settings], undisturbed: State
) -> None:
    settings = copy_home("home")
    path = _deliver(settings)
    before = read_state(settings)
    with opened(settings) as store:
        with store.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        store.engine.dispose()
        sa.event.listen(
            store.engine,
            "connect",
            lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages + 1}"),
            insert=False,
        )
        with pytest.raises(UnavailableError, match=r"\(database or disk is full\)"):
            admit(store, path, EAST)
    assert differences(read_state(settings), before) == []
    _admit(settings)
    assert differences(read_state(settings), undisturbed) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_store_that_is_really_mounted_read_only_is_told(
    copy_home: Callable[[str], Settings], undisturbed: State, small_disk: Callable[[int], None]
) -> None:
    settings = copy_home("disk/home")
    _deliver(settings)
    disk = settings.home.parent
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(UnavailableError, match="BCD_HOME"):
        _admit(settings)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    _admit(settings)
    assert differences(read_state(settings), undisturbed) == []
