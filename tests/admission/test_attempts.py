"""A delivery that kills its process, or fills the memory, is tried three times and then set aside, alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bcd.admission import admit as engine
from bcd.admission.admit import admit
from bcd.admission.attempts import MOST_ATTEMPTS
from bcd.admission.refused import RefusedError
from bcd.errors import UnavailableError
from bcd.files import _MACHINE as MACHINE
from bcd.patches import Hospital
from bcd.store.delivery_queries import list_stored_deliveries
from bcd.store.store import Store

EAST = Hospital("east")

KILLED = """
import os, signal, sys
from pathlib import Path
from bcd.admission import admit as engine
from bcd.patches import Hospital
from bcd.settings import load_settings
from bcd.store.store import open_store
engine.examine_files = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
settings = load_settings()
engine.admit(open_store(settings), Path(sys.argv[1]), Hospital("east"))
"""


def _fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(engine, "examine_files", fail)


def test_killed_three_times_it_is_set_aside_as_suspected_and_can_be_tried_again(store: Store, waiting: Path) -> None:
    for _ in range(MOST_ATTEMPTS):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(waiting)],
            env={**os.environ, "BCD_HOME": str(store.settings.home)},
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert waiting.exists()
    with pytest.raises(RefusedError, match=r"\b3\b.*`bcd ingest DELIVERY --hospital NAME`"):
        admit(store, waiting, EAST)
    [delivery] = list_stored_deliveries(store)
    assert delivery.refused == {"suspected": 1}
    aside = store.settings.set_aside / EAST / "monday.zip"
    assert (aside.parent / "monday.zip.txt").exists()
    shutil.move(aside, waiting)  # the operator puts it back: it has three attempts again
    assert admit(store, waiting, EAST).admitted == 4


def test_out_of_memory_counts_and_no_other_delivery_is_touched(
    *, store: Store, waiting: Path, patch_files, as_zip, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = as_zip(patch_files("1", seed=9), store.settings.inbox / EAST / "other.zip")
    with monkeypatch.context() as patch:
        _fail(patch, MemoryError())
        for _ in range(MOST_ATTEMPTS):
            with pytest.raises(UnavailableError, match="Memory"):
                admit(store, waiting, EAST)
    with pytest.raises(RefusedError):
        admit(store, waiting, EAST)
    assert admit(store, other, EAST).admitted == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), OSError(28, "No space left on device")])
def test_what_a_person_stopped_or_the_disk_had_no_room_for_does_not_count(
    store: Store, waiting: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    with monkeypatch.context() as patch:
        _fail(patch, error)
        for _ in range(2 * MOST_ATTEMPTS):
            with pytest.raises((type(error), UnavailableError)):
                admit(store, waiting, EAST)
    assert admit(store, waiting, EAST).admitted == 4


def test_another_delivery_of_the_same_name_is_not_suspected(
    *, store: Store, waiting: Path, patch_files, as_zip, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _fail(patch, MemoryError())
        for _ in range(MOST_ATTEMPTS):
            with pytest.raises(UnavailableError):
                admit(store, waiting, EAST)
    fresh = as_zip(patch_files("8867"), store.settings.home.parent / "fresh.zip")
    os.utime(fresh, (1, 1))
    fresh.replace(waiting)
    assert admit(store, waiting, EAST).admitted == 4


def test_a_delivery_outside_the_inbox_may_be_tried_for_ever(
    store: Store, patch_files, as_zip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_zip(patch_files("8867"))
    with monkeypatch.context() as patch:
        _fail(patch, MemoryError())
        for _ in range(MOST_ATTEMPTS + 1):
            with pytest.raises(UnavailableError):
                admit(store, path, EAST)
    assert admit(store, path, EAST).admitted == 4


def test_what_a_killed_attempt_copied_of_a_slide_goes_with_the_next(store: Store, as_folder, encode) -> None:
    left = store.settings.scratch / f".partial-{MACHINE}-{(1 << 22) + 1}-x"  # of a process that never lived
    left.mkdir(parents=True)
    (left / "slide.svs").write_bytes(b"x")
    noise = np.random.default_rng(1).integers(0, 40, (200, 200, 1))
    slide = encode((np.array([200, 120, 190]) + noise).astype(np.uint8))
    assert admit(store, as_folder({"P1_idx3.png": slide}), EAST, spacing=4.0).admitted > 0
    assert list(store.settings.scratch.iterdir()) == []
