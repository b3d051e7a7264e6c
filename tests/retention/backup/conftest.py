"""A small home with a batch, scores and settings, and a process that dies at a step."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stored import new_store, store_patients

from bcd.settings import Settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

_CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "tempfile.mkstemp", "tempfile.mkdtemp"}

DieAt = Callable[[Callable[[], object], Path, int], bool]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("PREFECT_HOME", raising=False)  # a command that ran here before names its own home
    settings = Settings(home=tmp_path / "home")
    store = new_store(settings)
    declare_hospital(store, "east", "pseudonyms", SignOff("Dr Lee", "test"))
    store_patients(store, ["1001", "1002"])
    store.engine.dispose()
    (settings.home / "bcd.toml").write_text("[training]\nepochs = 3\n")
    folder = settings.scores / "east" / "1001" / "bcd-idc-1-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("a report")
    return settings


@pytest.fixture
def store(home: Settings) -> Store:
    return open_store(home)


@pytest.fixture
def die_at() -> DieAt:
    """Runs an action in a process that is killed before its n-th change of a file below a folder."""

    def run(action: Callable[[], object], below: Path, step: int) -> bool:
        """Returns whether the process was killed; False: it came to its end before."""
        child = os.fork()
        if child == 0:
            steps = 0

            def hear(event: str, arguments: tuple[Any, ...]) -> None:
                nonlocal steps
                if (
                    event in _CHANGES
                    and str(arguments[0]).startswith(str(below))
                    and not _only_reads(event, arguments)
                ):
                    steps += 1
                    if steps == step:
                        os.kill(os.getpid(), signal.SIGKILL)

            try:
                sys.addaudithook(hear)
                action()
            except BaseException:  # noqa: BLE001 - the parent is told
                os._exit(3)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in {0, -signal.SIGKILL}
        return code != 0

    return run


def _only_reads(event: str, arguments: tuple[Any, ...]) -> bool:
    return event == "open" and (arguments[2] & (os.O_WRONLY | os.O_RDWR)) == 0
