"""A retraining in a process of its own that says each step in a line, at which `test_kill.py` kills it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def main() -> None:
    """Retrains on the delivery that is named."""
    settings = load_settings()
    enter_runtime(settings)  # before TensorFlow and MLflow are imported

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

    with show_progress(Lines()):
        store = open_store(settings)
        declare_hospital(store, "east", "pseudonyms", SignOff("test", "test"))
        admit(store, Path(sys.argv[1]), Hospital("east"))
        retraining = write_plan(settings, freeze_snapshot(store, SplitOptions()))
        stages.search_stage(settings, retraining)
        trained = stages.train_stage(settings, retraining)
        evaluated = stages.evaluate_stage(settings, retraining, trained)
        stages.register_stage(settings, retraining, trained, evaluated)
        print("registered", flush=True)
        stages.gate_stage(settings, retraining)


if __name__ == "__main__":
    main()
