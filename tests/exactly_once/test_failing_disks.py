"""A disk that is full, cannot be written or fails: it is told, nothing is half done, the same command completes it."""

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
from delivering import patch_files, picture, write_folder, write_tar_gz, write_zip
from leftovers import differences, opened, read_state

from bcd.admission.admit import admit
from bcd.errors import UnavailableError
from bcd.patches import Hospital
from bcd.settings import Settings

EAST = Hospital("east")

WRITE = {"zip": write_zip, "folder": write_folder, "tar.gz": write_tar_gz}


def _deliver(settings: Settings, container: str = "zip") -> Path:
    edges = {f"new/1/new_idx5_x{1 + 50 * place}_y901_class1.png": picture(place, width=42) for place in range(3)}
    files = {**patch_files("new", range(100, 140)), **patch_files("old", range(6, 8)), **edges}
    return WRITE[container](settings.inbox / EAST / f"delivery.{container}", files)


def _admit(settings: Settings, path: Path) -> None:
    with opened(settings) as catalog:
        admit(settings, catalog, path, EAST)


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


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("fault", "told"), [(errno.ENOSPC, "is full"), (errno.EROFS, "cannot be written")])
@pytest.mark.parametrize("container", ["zip", "tar.gz"])
def test_a_disk_that_fails_at_any_step_is_told_and_nothing_is_half_done(
    *, processes: Any, copy_home: Callable[[str], Settings], full_size: bool, fault: int, told: str, container: str
) -> None:
    undisturbed = copy_home("undisturbed")
    marks, kind, _ = _admit_apart(processes, undisturbed, _deliver(undisturbed, container))
    assert kind == "admitted"
    expected = read_state(undisturbed)
    steps = range(1, marks.steps[-1] + 1)
    for step in steps if full_size else steps[3::7]:
        settings = copy_home(f"fails-at-{step}")
        path = _deliver(settings, container)
        before = read_state(settings)
        marks, kind, text = _admit_apart(processes, settings, path, fail_at=step, fault=fault)
        print(step, marks.phase, kind, text)
        if kind != "admitted":
            assert kind in {"UnavailableError", "BcdError"}, text
        if kind != "admitted" and not marks.began("committed") and fault == errno.ENOSPC:
            assert differences(read_state(settings), before) == []
        if path.exists():
            _admit(settings, path)
        assert differences(read_state(settings), expected) == []
