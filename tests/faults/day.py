"""A hospital's day: a delivery is admitted, trained on, evaluated and scored; and what it comes to.

Nights pass as quickly as the runs that they start: a schedule is moved, as on the dashboard, and nothing is typed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from faults import KINDS, STAGES, Fault
from hospital import Hospital, wait_until

from bcd.patches import Hospital as HospitalName
from bcd.retraining.reconcile import find_unfinished
from bcd.settings import Settings, load_settings
from bcd.store.decisions import list_stored_decisions
from bcd.store.delivery_queries import list_batches
from bcd.store.hospitals import declare_hospital
from bcd.store.ledger import list_ledger
from bcd.store.patients import list_patients
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

MOST_DAYS = 4
_CALM = 4.0  # seconds without a run after which none is expected: an event starts one within two

State = dict[str, Any]


@dataclass
class Disturbance:
    """A fault that strikes once its stage has run for a while.

    Args:
        fault: What.
        hospital: Whom.
        after: Seconds after the stage has begun.
    """

    fault: Fault
    hospital: Hospital
    after: float
    hit: str = field(default="", init=False)
    _begun: float = field(default=0.0, init=False)

    def __call__(self) -> None:
        """Looks whether it is time."""
        if self.hit:
            return
        if not self._begun:
            if self.hospital.find_runs("RUNNING", flow=self.fault.stage):
                self._begun = time.monotonic()
            return
        if time.monotonic() - self._begun < self.after:
            return
        running = [stage for stage in STAGES if self.hospital.find_runs("RUNNING", flow=stage)]
        self.hit = ", ".join(running) or "between runs"
        _, strike, seconds = KINDS[self.fault.kind]
        with strike(self.hospital):
            time.sleep(seconds)


def leave_alone() -> None:
    """Disturbs nobody."""


def live(hospital: Hospital, delivery: Path, disturb: Callable[[], None]) -> int:
    """Drops a delivery into the inbox and lets days pass until its patients are scored; returns how many."""
    with open_store(load_settings()) as store:
        declare_hospital(store, HospitalName("east"), "pseudonyms", SignOff("Mary", "test"))
    (hospital.home / "inbox/east").mkdir(parents=True)
    shutil.copy(delivery, hospital.home / "inbox/east")
    for day in range(1, MOST_DAYS + 1):
        stages = {"ingest": _is_admitted, "retrain": _has_verdict, "reconcile": _is_followed, "score": _is_scored}
        for name, is_done in stages.items():
            if not is_done():  # what is done is found done, which tests/flows assert
                hospital.bring_night(name)
                _await_calm(hospital, disturb)
        if _is_scored():
            return day
    raise AssertionError(f"after {MOST_DAYS} days not everybody is scored")


def measure_stages(hospital: Hospital) -> dict[str, float]:
    """Returns the seconds that each stage took."""
    return {
        stage: max(float(run["total_run_time"]) for run in hospital.find_runs("COMPLETED", flow=stage))
        for stage in STAGES
    }


def read_state(settings: Settings) -> State:
    """Reads what must be equal, whatever went wrong."""
    from bcd.gate.history import list_versions_with_verdicts

    with open_store(settings) as store:
        entries = [entry for entry in list_ledger(store) if entry.status == "scored"]
        state: State = {
            "batches": [each.batch for each in list_batches(store)],
            "decisions": [[each.kind, each.key, each.verdict] for each in list_stored_decisions(store)],
            "scored": dict(sorted(Counter(f"{each.patient} {each.bundle}" for each in entries).items())),
        }
    versions = list_versions_with_verdicts(settings)
    [study] = settings.work.glob("*/study.json")
    [training] = settings.work.glob("*/network/training.json")
    return state | {
        "snapshots": sorted(path.name for path in settings.snapshots.iterdir()),
        "received": sorted(str(path.relative_to(settings.received)) for path in settings.received.rglob("*.zip")),
        "inbox": sorted(path.name for path in settings.inbox.rglob("*.zip")),
        "versions": [[each.version, each.verdict, sorted(each.aliases)] for each in versions],
        "metrics": {name: f"{value:.4f}" for each in versions for name, value in each.metrics.items()},
        "trials": [
            [each["number"], each["state"], each["value"]] for each in json.loads(study.read_text())["trials"]
        ],
        "losses": [round(row["loss"], 5) for row in json.loads(training.read_text())["history"]],
        "open trials": _count_open_trials(settings),
    }


def compare(found: State, expected: State) -> list[str]:
    """Names what differs."""
    return [
        f"{key}: {str(found.get(key))[:300]} instead of {str(expected.get(key))[:300]}"
        for key in sorted(found.keys() | expected.keys())
        if found.get(key) != expected.get(key)
    ]


def _await_calm(hospital: Hospital, disturb: Callable[[], None]) -> None:
    calm_since = 0.0

    def is_calm() -> bool:
        nonlocal calm_since
        with suppress(httpx.TransportError):
            disturb()
            if not _is_anything_due(hospital):
                calm_since = calm_since or time.monotonic()
                return time.monotonic() - calm_since > _CALM
        calm_since = 0.0
        return False

    wait_until("the end of what is under way", is_calm, patience=900, pause=0.2)


def _is_anything_due(hospital: Hospital) -> bool:
    soon = {"expected_start_time": {"before_": (hospital.now() + timedelta(seconds=4)).isoformat()}}
    return bool(
        hospital.find_runs("PENDING", "RUNNING", "CANCELLING") or hospital.find_runs("SCHEDULED", flow_runs=soon)
    )


def _is_admitted() -> bool:
    settings = load_settings()
    return any(settings.received.glob("east/*.zip")) and not any(settings.inbox.glob("east/*.zip"))


def _has_verdict() -> bool:
    with open_store(load_settings()) as store:
        return bool(list_stored_decisions(store))


def _is_followed() -> bool:
    with open_store(load_settings()) as store:
        unfinished = find_unfinished(store)
    return unfinished.half_done is None and unfinished.plan is None


def _is_scored() -> bool:
    with open_store(load_settings()) as store:
        patients = set(list_patients(store)["patient"])
        scored = {entry.patient for entry in list_ledger(store) if entry.status == "scored"}
    return bool(patients) and patients <= scored


def _count_open_trials(settings: Settings) -> int:
    import optuna

    url = settings.study_storage.replace("postgresql://", "postgresql+psycopg://")
    storage = optuna.storages.RDBStorage(url)
    return sum(
        not trial.state.is_finished()
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id, deepcopy=False)
    )
