"""Retrainings that say each step in a line, at which `test_kill.py` kills them.

For each home that is named on a line of its input, a process is forked off in which all libraries are loaded; it says
its number first. With BCD_TEST_FULL=1 there is a search before the training.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from bcd.runtime import enter_runtime
from bcd.settings import load_settings


class Lines:
    """Prints what is done and what is said."""

    @contextmanager
    def track(self, description: str, total: float | None) -> Iterator[Callable[[float], None]]:
        print(description, flush=True)
        yield lambda amount: None

    def say(self, message: str) -> None:
        print(message, flush=True)


def retrain(home: str, delivery: Path) -> None:
    """Retrains on a delivery, in a home."""
    from bcd.admission.admit import admit
    from bcd.patches import Hospital
    from bcd.progress import show_progress
    from bcd.retraining import stages
    from bcd.retraining.plan import write_plan
    from bcd.snapshots.freeze import freeze_snapshot
    from bcd.snapshots.options import SplitOptions
    from bcd.store.hospitals import declare_hospital
    from bcd.store.sign_off import SignOff
    from bcd.store.store import open_store

    os.environ["BCD_HOME"] = home
    settings = load_settings()
    enter_runtime(settings)
    with show_progress(Lines()):
        store = open_store(settings)
        declare_hospital(store, "east", "pseudonyms", SignOff("test", "test"))
        admit(store, delivery, Hospital("east"))
        retraining = write_plan(settings, freeze_snapshot(store, SplitOptions()))
        if os.environ.get("BCD_TEST_FULL") == "1":
            stages.search_stage(settings, retraining)
        trained = stages.train_stage(settings, retraining)
        evaluated = stages.evaluate_stage(settings, retraining, trained)
        stages.register_stage(settings, retraining, trained, evaluated)
        print("registered", flush=True)
        stages.gate_stage(settings, retraining)


def main() -> None:
    """Retrains in each home that is named, on the delivery that is."""
    enter_runtime(load_settings())  # before these are imported
    for library in ("keras", "mlflow", "openvino", "optuna", "bcd.retraining.stages"):
        import_module(library)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            print(os.getpid(), flush=True)
            retrain(line.strip(), Path(sys.argv[1]))
            return
        print("ended", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
